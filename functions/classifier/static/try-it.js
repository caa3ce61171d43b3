"use strict";

// API Gateway hands Lambda at most 6 MB, and a picture is a third larger on its way.
const MOST_BYTES = 4_500_000;
const LONGEST_SIDE = 2048;

const at = (id) => document.getElementById(id);
let token = "";
let last = null; // the image that was chosen last
let turn = 0; // an answer that comes after the next image was chosen is dropped

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  const document = await response.json().catch(() => ({}));
  at("access").hidden = response.status !== 401;
  if (!response.ok) throw new Error(document.detail || document.message || `The API answered ${response.status}.`);
  return document;
}

async function showModel() {
  try {
    const model = await ask("model");
    const count = model.labels.length;
    at("model").textContent = `${model.name} ${model.version}, ${count} ${count === 1 ? "label" : "labels"}`;
  } catch (error) {
    at("model").textContent = error.message;
  }
}

// A photo straight from a camera may be larger than what is taken. The result is then that of the smaller picture.
async function fitting(file) {
  if (file.size <= MOST_BYTES) return [file, ""];
  const picture = await createImageBitmap(file).catch(() => null);
  if (picture === null) return [file, ""];
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const smaller = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  return smaller ? [smaller, `sent as ${canvas.width} × ${canvas.height}, because the file is too large`] : [file, ""];
}

async function classify(file) {
  last = file;
  const mine = ++turn;
  show(file);
  say("Classifying …");
  at("result").hidden = true;
  try {
    const [body, note] = await fitting(file);
    const type = body.type.startsWith("image/") ? body.type : "application/octet-stream";
    const result = await ask("predict", { method: "POST", body, headers: { "Content-Type": type } });
    if (mine === turn) showResult(result, note);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

function show(file) {
  const picture = at("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.hidden = false;
  // Browsers show fewer formats than the model reads.
  picture.onerror = () => { picture.hidden = true; };
  at("invitation").hidden = true;
}

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
  at("status").hidden = !text;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showResult(result, note) {
  const { prediction, image, model, timing_ms: timing } = result;
  at("label").textContent = prediction.label;
  const mark = at("review");
  mark.hidden = !prediction.needs_review;
  mark.textContent = prediction.review_reason ? `needs review: ${prediction.review_reason}` : "needs review";
  at("bars").replaceChildren(...prediction.top.map(bar));
  const facts = [
    ["image", `${image.format}, ${image.width} × ${image.height}${note ? `, ${note}` : ""}`],
    ["model", `${model.name} ${model.version}`],
    ["time", `${Math.round(timing.decode + timing.predict)} ms`],
  ];
  if (prediction.novelty !== undefined) facts.unshift(["novelty", percent(prediction.novelty)]);
  at("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  at("result").hidden = false;
  say("");
}

function bar({ label, confidence }) {
  const item = document.createElement("li");
  const name = element("span", label);
  name.className = "data";
  const meter = document.createElement("meter");
  meter.value = confidence;
  meter.setAttribute("aria-label", label);
  item.append(name, element("span", percent(confidence)), meter);
  return item;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function firstFile(transfer) {
  return transfer ? [...transfer.files][0] : undefined;
}

for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
  at(button).addEventListener("click", () => at(input).click());
  at(input).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) classify(file);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

let inside = 0; // entering a child leaves its parent
document.addEventListener("dragenter", () => at("drop").classList.toggle("over", ++inside > 0));
document.addEventListener("dragleave", () => at("drop").classList.toggle("over", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  at("drop").classList.remove("over");
  const file = firstFile(event.dataTransfer);
  if (file) classify(file);
  else say("That was no file. Save the image first, or copy it and paste it here.", true);
});
document.addEventListener("paste", (event) => {
  const file = firstFile(event.clipboardData);
  if (file) classify(file);
});
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  showModel();
  if (last) classify(last);
});

showModel();
