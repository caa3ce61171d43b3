"use strict";
(() => {
  const list = document.querySelector(".cards");
  const cards = [...list.children];
  const classes = new Set([...document.querySelectorAll("#classes option")].map((one) => one.value));
  let saved = true;

  // The decision of a card as [decision, to]; ["", ""] while there is none.
  function decision(card) {
    const chosen = card.querySelector("input[type=radio]:checked");
    if (!chosen) return ["", ""];
    if (chosen.value === "move") return ["move", card.dataset.likely];
    if (chosen.value !== "other") return [chosen.value, ""];
    const to = card.querySelector("input[type=text]").value.trim();
    return classes.has(to) && to !== card.dataset.label ? ["move", to] : ["", ""];
  }

  function tell() {
    const decided = cards.filter((card) => decision(card)[0]).length;
    document.querySelector("#decided").textContent = `${decided} of ${cards.length} decided`;
  }

  function go(card) {
    if (!card) return;
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  }

  function choose(card, value) {
    const button = card.querySelector(`input[value=${value}]`);
    button.checked = true;
    button.dispatchEvent(new Event("change", { bubbles: true }));
    if (value === "other") card.querySelector("input[type=text]").focus();
    else go(card.nextElementSibling);
  }

  list.addEventListener("keydown", (event) => {
    const card = event.target.closest("li");
    const typing = event.target.type === "text";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const value = { k: "keep", m: "move", o: "other", r: "remove" }[event.key.toLowerCase()];
    if (typing && event.key === "Enter") go(card.nextElementSibling);
    else if (typing) return;
    else if (value) choose(card, value);
    else if (event.target !== card) return; // arrows move between radio buttons
    else if (event.key === "ArrowDown") go(card.nextElementSibling);
    else if (event.key === "ArrowUp") go(card.previousElementSibling);
    else return;
    event.preventDefault();
  });

  list.addEventListener("input", (event) => {
    if (event.target.type !== "text") return;
    const field = event.target;
    const card = field.closest("li");
    card.querySelector("input[value=other]").checked = true;
    const [found] = decision(card);
    field.setCustomValidity(found || !field.value ? "" : "choose one of the other classes");
  });

  for (const kind of ["input", "change"])
    list.addEventListener(kind, () => {
      saved = false;
      tell();
    });

  // A spreadsheet computes cells that begin like a formula; an apostrophe disarms them, and --apply reads it so.
  function cell(text) {
    const safe = /^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  document.querySelector("#download").addEventListener("click", () => {
    const rows = cards.map((card) => {
      const { photo, label, likely } = card.dataset;
      return [photo, label, likely, ...decision(card)].map(cell).join(",");
    });
    const link = document.createElement("a");
    const text = [list.dataset.columns, ...rows, ""].join("\n");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    saved = true;
  });

  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
  tell();
})();
