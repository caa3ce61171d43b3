// The gallery's behaviour. Reading order: data, filters, sorting, grid, panels, dialogs, decisions, keyboard, start.
//
// Keys, labels and messages are untrusted: they reach the page as text nodes and properties only, never as markup, and
// through visible(), which makes control and bidirectional characters readable.
"use strict";
{
const $ = (id) => document.getElementById(id);
const live = "live" in document.documentElement.dataset;
const reviewer = document.documentElement.dataset.reviewer ?? null; // null where nothing can be decided
const collapsed = matchMedia("(max-width: 60rem)");

/** An element. Attributes whose value is false are left out; children are elements or text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const visible = (text) => String(text).replace(INVISIBLE, escaped);

/** \x07, \u202e or \u{e0001}: as the command line writes them (bucketlens/escaping.py). */
function escaped(character) {
  const code = character.codePointAt(0).toString(16);
  if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
  return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\u{${code}}`;
}
const data = (text, kind = "") => element("span", { class: `data ${kind}`, title: text }, text);
const number = new Intl.NumberFormat("en");
const confidenceText = (value) => value.toFixed(value > 0.995 && value < 1 ? 4 : 2);

// ---------------------------------------------------------------------------------------------------------- data

/** One array a column, named like the attributes of an item, and what is computed from them once. */
let table = emptyTable();
let thumbnails = null;
const labelOf = new Map(); // labels as they are, by how they are shown

function emptyTable() {
  return { count: 0, columns: {}, uris: [], keys: [], labels: [], confidence: [], top: [], haystack: [], rank: [] };
}

const value = (name, row) => table.columns[name]?.[row] ?? null;

/** Adds a chunk as bucketlens/gallery/data.py makes it. Confidence is kept in ten-thousandths, which are exact. */
function addChunk(chunk) {
  const start = table.count;
  table.count += chunk.count;
  for (const [name, column] of Object.entries(chunk.columns)) {
    const known = (table.columns[name] ??= []);
    const { values, codes } = Array.isArray(column) ? {} : column;
    for (let i = 0; i < chunk.count; i++) {
      let entry = codes ? codes[i] : column[i];
      if (name === "top") entry = entry.map((one, at) => (at % 2 ? one : shownLabel(values[one])));
      else if (codes) entry = entry < 0 ? null : values[entry];
      known[start + i] = entry;
    }
  }
  for (let row = start; row < table.count; row++) {
    const uri = table.columns.image_uri[row];
    table.uris[row] = visible(uri);
    table.keys[row] = visible(uri.slice(uri.indexOf("/", 5) + 1));
    const label = value("label", row);
    table.labels[row] = label === null ? null : visible(label);
    const confidence = value("confidence", row);
    table.confidence[row] = confidence === null ? -1 : Math.round(confidence * 10000);
    const words = [table.uris[row], label ?? "", value("error_code", row) ?? "", value("error_message", row) ?? ""];
    table.haystack[row] = words.join("\n").toLowerCase();
  }
}

/** What to look at first: positions of results, from the first on (bucketlens/reviews.py). What is not in it is last. */
function setQueue(positions) {
  table.rank = new Int32Array(table.count).fill(positions.length);
  positions.forEach((row, rank) => { table.rank[row] = rank; });
  table.queued = positions.length;
}

function shownLabel(label) {
  const text = visible(label);
  labelOf.set(text, label);
  return text;
}

// ------------------------------------------------------------------------------------------------------- filters

const BINS = 20;
const BIN = 10000 / BINS;
const nothing = () => ({ words: "", prefix: "", from: 0, below: 10000, sort: "look" });
let wanted = nothing();

/** What can be chosen from a list: `of` gives a row's value or null; several chosen values of one list are alternatives. */
const FACETS = [
  { name: "status", title: "Status", of: statusOf, order: byCount },
  { name: "reason", title: "Rejected because", of: (row) => value("error_code", row), order: byCount },
  { name: "review", title: "Review because of", of: (row) => value("review_reason", row), order: byCount },
  { name: "label", title: "Label", of: (row) => table.labels[row], order: byCount },
  { name: "decision", title: "Decision", of: decisionOf, order: byCount },
  { name: "model", title: "Model version", of: (row) => value("model_version", row), order: newestFirst },
  { name: "day", title: "Day (UTC)", of: (row) => value("classified_at", row)?.slice(0, 10) ?? null, order: newestFirst },
].map((facet) => ({ ...facet, chosen: new Set(), values: [], codes: [], counts: [], buttons: [] }));

function statusOf(row) {
  if (value("status", row) === "rejected") return "rejected";
  return value("needs_review", row) ? "needs review" : "classified";
}
function decisionOf(row) {
  if (value("status", row) === "rejected" || !(reviewer !== null || table.columns.decision)) return null;
  return value("decision", row) ?? "not reviewed";
}
function byCount(a, b) { return b.count - a.count || (a.value < b.value ? -1 : 1); }
function newestFirst(a, b) { return a.value < b.value ? 1 : -1; }

/** Gives each facet its values in their order, and each row the value's number. */
function indexFacets(facets = FACETS) {
  for (const facet of facets) {
    const counted = new Map([...facet.chosen].map((chosen) => [chosen, 0]));
    const values = new Array(table.count);
    for (let row = 0; row < table.count; row++) {
      const found = facet.of(row);
      values[row] = found === null ? null : visible(found);
      if (found !== null) counted.set(values[row], (counted.get(values[row]) ?? 0) + 1);
    }
    const ordered = [...counted].map(([value, count]) => ({ value, count })).sort(facet.order);
    facet.values = ordered.map((one) => one.value);
    const codes = new Map(facet.values.map((one, code) => [one, code]));
    facet.codes = Int32Array.from(values, (one) => (one === null ? -1 : codes.get(one)));
  }
}

const histogram = new Array(BINS).fill(0);
let shown = []; // rows that pass every filter, in the order of the sort

/** Finds the rows that pass, and counts for each list and the histogram what passes all the other filters. */
function applyFilters() {
  const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
  const whole = wanted.from === 0 && wanted.below === 10000;
  const prefixed = wanted.prefix.startsWith("s3://") ? table.uris : table.keys;
  for (const facet of FACETS) {
    facet.counts = new Int32Array(facet.values.length);
    facet.passes = Uint8Array.from(facet.values, (one) => !facet.chosen.size || facet.chosen.has(one));
  }
  histogram.fill(0);
  shown = [];
  for (const row of sorted()) {
    if (wanted.prefix && !prefixed[row].startsWith(wanted.prefix)) continue;
    if (words.length && !words.every((word) => table.haystack[row].includes(word))) continue;
    const confidence = table.confidence[row];
    let failed = 0;
    let failing = null;
    for (const facet of FACETS) {
      const code = facet.codes[row];
      if (code < 0 ? facet.chosen.size : !facet.passes[code]) { failed++; failing = facet; }
    }
    const inRange = confidence >= wanted.from && (confidence < wanted.below || wanted.below === 10000);
    if (!whole && !inRange) { failed++; failing = histogram; }
    if (failed > 1) continue;
    if (failed === 0) shown.push(row);
    for (const facet of FACETS) {
      if (facet.codes[row] >= 0 && (failed === 0 || failing === facet)) facet.counts[facet.codes[row]]++;
    }
    if (confidence >= 0 && (failed === 0 || failing === histogram)) {
      histogram[Math.min(BINS - 1, Math.floor(confidence / BIN))]++;
    }
  }
}

// ------------------------------------------------------------------------------------------------------- sorting

const SORTS = {
  look: ["Look at these first", lookFirst],
  least: ["Least confident", (a, b) => bare(a) - bare(b) || table.confidence[a] - table.confidence[b]],
  most: ["Most confident", (a, b) => bare(a) - bare(b) || table.confidence[b] - table.confidence[a]],
  novel: ["Most novel", (a, b) => (value("novelty", b) ?? -1) - (value("novelty", a) ?? -1) || table.confidence[a] - table.confidence[b]],
  newest: ["Newest", (a, b) => text(value("classified_at", b), value("classified_at", a))],
  oldest: ["Oldest", (a, b) => text(value("classified_at", a), value("classified_at", b))],
  key: ["Key", (a, b) => text(table.uris[a], table.uris[b])],
  label: ["Label", (a, b) => bare(a) - bare(b) || text(table.labels[a], table.labels[b]) || table.confidence[a] - table.confidence[b]],
};
const LOOK_RULE =
  "Look at these first: what needs review, the closest calls between two labels and the most novel in turn; then the " +
  "rejected, newest first; then the rest, the closest calls first; last what is decided.";
const text = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const bare = (row) => (table.confidence[row] < 0 ? 1 : 0); // what has no confidence comes last
const orders = new Map();

let urgencies = []; // by row, computed before a sort that compares them many times

function lookFirst(a, b) {
  if (urgencies[a] !== urgencies[b]) return urgencies[a] - urgencies[b];
  if (urgencies[a] === 1) return text(value("classified_at", b), value("classified_at", a));
  return table.rank[a] - table.rank[b] || table.confidence[a] - table.confidence[b];
}
function urgency(row) {
  if (bare(row)) return 1;
  if ((value("decision", row) ?? "outdated") !== "outdated" || table.rank[row] >= table.queued) return 3;
  return value("needs_review", row) ? 0 : 2;
}

/** Every row in the chosen order, which is computed once; equals come in the order of their keys. */
function sorted() {
  if (!orders.has(wanted.sort)) {
    const compare = SORTS[wanted.sort][1];
    const rows = Array.from({ length: table.count }, (_, row) => row);
    urgencies = Uint8Array.from(rows, urgency);
    rows.sort((a, b) => compare(a, b) || text(table.uris[a], table.uris[b]));
    orders.set(wanted.sort, Int32Array.from(rows));
  }
  return orders.get(wanted.sort);
}

// ---------------------------------------------------------------------------------------------------------- grid

const GAP = 12;
const CAPTION = 58;
const OVERSCAN = 2; // rows drawn above and below what is seen
// Where the scroller is and how high: kept, because asking the browser makes it lay the page out at once.
const grid = { columns: 1, cell: 160, rowHeight: 218, active: 0, drawn: new Map(), top: 0, height: 0 };

function measureGrid() {
  const width = $("grid").clientWidth;
  grid.height = $("scroller").clientHeight;
  const wish = width < 480 ? 140 : 168;
  grid.columns = Math.max(1, Math.floor((width + GAP) / (wish + GAP)));
  grid.cell = Math.floor((width - GAP * (grid.columns - 1)) / grid.columns);
  grid.rowHeight = grid.cell + CAPTION + GAP;
  $("grid").style.setProperty("--cell", `${grid.cell}px`);
  $("grid").style.setProperty("--cell-height", `${grid.cell + CAPTION}px`);
}

/** Draws everything anew: after a filter, a sort or a change of width. */
function resetGrid() {
  const hadFocus = $("grid").contains(document.activeElement);
  for (const row of grid.drawn.values()) row.remove();
  grid.drawn.clear();
  const rows = Math.ceil(shown.length / grid.columns);
  $("grid").style.height = `${rows * grid.rowHeight}px`;
  $("grid").setAttribute("aria-rowcount", rows);
  $("grid").setAttribute("aria-colcount", grid.columns);
  grid.active = Math.max(0, Math.min(grid.active, shown.length - 1));
  drawRows();
  if (hadFocus) focusActive();
}

/** Draws the rows that are seen, and always that of the active cell, which may hold the focus; removes the others. */
function drawRows() {
  const last = Math.ceil(shown.length / grid.columns) - 1;
  const from = Math.max(0, Math.floor(grid.top / grid.rowHeight) - OVERSCAN);
  const to = Math.min(last, Math.floor((grid.top + grid.height) / grid.rowHeight) + OVERSCAN);
  const needed = new Set(shown.length ? [Math.floor(grid.active / grid.columns)] : []);
  for (let index = from; index <= to; index++) needed.add(index);
  for (const [index, row] of grid.drawn) {
    if (!needed.has(index)) { row.remove(); grid.drawn.delete(index); }
  }
  for (const index of needed) {
    if (!grid.drawn.has(index)) {
      const row = drawRow(index);
      grid.drawn.set(index, row);
      $("grid").append(row);
    }
  }
}

function drawRow(index) {
  const row = element("div", { role: "row", class: "row", "aria-rowindex": index + 1 });
  row.style.top = `${index * grid.rowHeight}px`;
  const start = index * grid.columns;
  shown.slice(start, start + grid.columns).forEach((which, column) => row.append(drawCell(which, start + column, column)));
  return row;
}

function drawCell(row, position, column) {
  const rejected = value("status", row) === "rejected";
  const key = table.keys[row];
  const caption = rejected
    ? element("div", {}, element("span", { class: "badge stop" }, "rejected"))
    : element("div", {}, data(table.labels[row] ?? "", "label ellipsis"),
        element("span", { class: "number" }, confidenceText(table.confidence[row] / 10000)));
  const file = element("div", {}, data(key.slice(key.lastIndexOf("/") + 1) || key, "file ellipsis"));
  file.firstChild.title = key;
  const decision = value("decision", row);
  if (decision !== null) file.append(decisionBadge(decision));
  else if (value("needs_review", row)) file.append(element("span", { class: "badge" }, "review"));
  return element(
    "div",
    { role: "gridcell", class: rejected ? "cell rejected" : "cell", "aria-colindex": column + 1, "data-at": position,
      tabindex: position === grid.active ? 0 : -1 },
    drawFrame(row),
    element("div", { class: "caption" }, caption, file),
  );
}

function drawFrame(row) {
  const frame = element("div", { class: "frame" });
  if (value("status", row) === "rejected") {
    absent(frame, visible(value("error_message", row) ?? ""), value("error_code", row));
    return frame;
  }
  const source = thumbnailOf(row);
  if (source === null) absent(frame, "no picture");
  // The caption says what the picture is, hence no alternative text.
  else frame.append(element("img", { src: source, alt: "", decoding: "async", draggable: "false",
    onerror: () => absent(frame, "no picture: deleted or replaced since") }));
  return frame;
}

function absent(frame, why, code = null) {
  frame.classList.add("absent");
  const parts = code ? visible(code).split(/(?<=[._])/).flatMap((part) => [part, element("wbr")]) : [];
  frame.replaceChildren(...(code ? [element("strong", { class: "data" }, ...parts)] : []),
    element("span", { class: "data why", title: why }, why));
}

function thumbnailOf(row) {
  const id = value("picture", row);
  if (id === null) return null;
  if (!thumbnails) return `thumbnails/${id}.jpg`;
  return id in thumbnails ? `data:image/jpeg;base64,${thumbnails[id]}` : null;
}

function scrollTo(top) {
  $("scroller").scrollTop = top;
  grid.top = top;
}

function moveTo(position) {
  if (!shown.length) return;
  cellAt(grid.active)?.setAttribute("tabindex", -1);
  grid.active = Math.max(0, Math.min(position, shown.length - 1));
  const top = Math.floor(grid.active / grid.columns) * grid.rowHeight;
  if (top < grid.top) scrollTo(top);
  else if (top + grid.rowHeight > grid.top + grid.height) scrollTo(top + grid.rowHeight - grid.height + GAP);
  drawRows();
}

const cellAt = (position) => $("grid").querySelector(`[data-at="${position}"]`);

function focusActive() {
  const cell = cellAt(grid.active);
  cell?.setAttribute("tabindex", 0);
  cell?.focus({ preventScroll: true });
}

// -------------------------------------------------------------------------------------------------------- panels

/** After any change of `wanted`: filter, then show. Measured as "filter" in the browser's performance timeline. */
function update({ keepPlace = false } = {}) {
  const start = performance.now();
  applyFilters();
  showSummary();
  showFacets();
  showHistogram();
  showChips();
  if (!keepPlace) {
    grid.active = 0;
    if (grid.top > 0) scrollTo(0);
  }
  resetGrid();
  performance.measure("filter", { start });
  rememberView();
}

function showSummary() {
  const rest = shown.length === table.count ? "" : ` of ${number.format(table.count)}`;
  $("summary").textContent = `${number.format(shown.length)}${rest} ${table.count === 1 ? "result" : "results"}`;
  $("rule").textContent = wanted.sort === "look" ? LOOK_RULE : "";
  $("rule").hidden = wanted.sort !== "look";
  document.querySelector(".empty")?.remove();
  if (!shown.length && !loading) {
    const why = table.count ? "No result passes these filters." : "There are no results yet.";
    $("scroller").prepend(element("p", { class: "empty" }, why));
  }
}

/** Makes the lists; counts are filled in by showFacets(). */
function makeFacets() {
  $("facets").replaceChildren();
  for (const facet of FACETS) {
    facet.buttons = facet.values.map((one) =>
      element("button", { type: "button", "aria-pressed": "false", onclick: () => toggle(facet, one) },
        data(one, "ellipsis"), element("span", { class: "count" })));
    if (!facet.values.length) continue;
    const id = `facet-${facet.name}`;
    const section = element("section", { class: "facet", "aria-labelledby": id, id: `list-${facet.name}` },
      element("h2", { id }, facet.title));
    if (facet.values.length > 15) {
      section.append(element("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${facet.title}`,
        oninput: (event) => narrow(facet, event.target.value) }));
    }
    section.append(element("ul", {}, ...facet.buttons.map((button) => element("li", {}, button))));
    $("facets").append(section);
  }
}

function narrow(facet, typed) {
  const sought = typed.toLowerCase();
  facet.buttons.forEach((button, i) => { button.parentNode.hidden = !facet.values[i].toLowerCase().includes(sought); });
}

function toggle(facet, one) {
  if (!facet.chosen.delete(one)) facet.chosen.add(one);
  update();
}

function showFacets() {
  for (const facet of FACETS) {
    facet.buttons.forEach((button, code) => {
      const count = number.format(facet.counts[code]);
      if (button.lastChild.textContent !== count) button.lastChild.textContent = count;
      button.setAttribute("aria-pressed", facet.chosen.has(facet.values[code]));
      button.classList.toggle("none", facet.counts[code] === 0);
    });
  }
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240 / BINS;
const bars = [];

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function makeHistogram() {
  for (let bin = 0; bin < BINS; bin++) {
    const bar = svg("rect", { class: "bar", x: bin * WIDTH + 0.5, width: WIDTH - 1 });
    const hit = svg("rect", { class: "hit", x: bin * WIDTH, y: 0, width: WIDTH, height: 64 });
    const title = hit.appendChild(svg("title", {}));
    bars.push({ bar, title });
    $("histogram").append(bar, hit);
  }
  $("histogram").append(svg("line", { class: "axis", x1: 0, x2: 240, y1: 63.5, y2: 63.5 }));
  let anchor = null;
  const binAt = (event) => {
    const box = $("histogram").getBoundingClientRect();
    return Math.max(0, Math.min(BINS - 1, Math.floor(((event.clientX - box.left) / box.width) * BINS)));
  };
  const brush = (event) => {
    const bins = [anchor, binAt(event)].sort((a, b) => a - b);
    setRange(bins[0] * BIN, (bins[1] + 1) * BIN);
  };
  $("histogram").addEventListener("pointerdown", (event) => {
    const bin = binAt(event);
    if (wanted.from === bin * BIN && wanted.below === (bin + 1) * BIN) { setRange(0, 10000); return; }
    anchor = bin;
    $("histogram").setPointerCapture(event.pointerId);
    brush(event);
  });
  $("histogram").addEventListener("pointermove", (event) => { if (anchor !== null) brush(event); });
  for (const end of ["pointerup", "pointercancel"]) $("histogram").addEventListener(end, () => { anchor = null; });
}

function setRange(from, below) {
  if (wanted.from === from && wanted.below === below) return;
  Object.assign(wanted, { from, below });
  update();
}

function showHistogram() {
  const most = Math.max(1, ...histogram);
  histogram.forEach((count, bin) => {
    const height = count ? Math.max(2, 60 * Math.sqrt(count / most)) : 0;
    const { bar, title } = bars[bin];
    bar.setAttribute("y", 63 - height);
    bar.setAttribute("height", height);
    bar.classList.toggle("in", bin * BIN >= wanted.from && bin * BIN < wanted.below);
    title.textContent = `${(bin / BINS).toFixed(2)} to ${((bin + 1) / BINS).toFixed(2)}: ${number.format(count)}`;
  });
  const total = histogram.reduce((sum, count) => sum + count, 0);
  const high = histogram.slice(BINS - 2).reduce((sum, count) => sum + count, 0);
  $("histogram").setAttribute("aria-label",
    `Histogram of confidence: ${number.format(total)} results, ${number.format(high)} of them at 0.90 or more`);
  if (document.activeElement !== $("from")) $("from").value = wanted.from / 10000;
  if (document.activeElement !== $("below")) $("below").value = wanted.below / 10000;
}

function showChips() {
  const chips = [];
  const chip = (words, remove) => chips.push(element("li", {}, element("button",
    { type: "button", class: "ellipsis", "aria-label": `Remove the filter ${words}`, onclick: () => { remove(); update(); } },
    element("span", { class: "data" }, words), " ×")));
  for (const facet of FACETS) {
    for (const one of facet.chosen) chip(`${facet.title.toLowerCase()}: ${one}`, () => facet.chosen.delete(one));
  }
  if (wanted.from > 0 || wanted.below < 10000) {
    chip(`confidence: ${wanted.from / 10000} to ${wanted.below / 10000}`, () => Object.assign(wanted, { from: 0, below: 10000 }));
  }
  if (wanted.prefix) chip(`prefix: ${visible(wanted.prefix)}`, () => { $("prefix").value = wanted.prefix = ""; });
  if (wanted.words) chip(`search: ${visible(wanted.words)}`, () => { $("search").value = wanted.words = ""; });
  if (chips.length > 1) {
    chips.push(element("li", {}, element("button", { type: "button", onclick: clearFilters }, "Clear all")));
  }
  $("chips").replaceChildren(...chips);
}

function clearFilters() {
  wanted = { ...nothing(), sort: wanted.sort };
  for (const facet of FACETS) facet.chosen.clear();
  $("search").value = $("prefix").value = "";
  update();
}

/** The folders of the keys, most populated first, as suggestions for the prefix. */
function makeFolders() {
  const counts = new Map();
  for (const key of table.keys) {
    for (let slash = key.indexOf("/"); slash >= 0; slash = key.indexOf("/", slash + 1)) {
      const folder = key.slice(0, slash + 1);
      counts.set(folder, (counts.get(folder) ?? 0) + 1);
    }
  }
  const folders = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 200);
  $("folders").replaceChildren(...folders.map(([folder]) => element("option", { value: folder })));
}

// The view is kept in the address after "#", so that it can be bookmarked and sent.

let remembering = 0;
function rememberView() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const view = new URLSearchParams();
    for (const facet of FACETS) for (const one of facet.chosen) view.append(facet.name, one);
    for (const [name, usual] of Object.entries(nothing())) if (wanted[name] !== usual) view.set(name, wanted[name]);
    history.replaceState(null, "", `#${view}`);
  }, 200);
}

function recallView() {
  const view = new URLSearchParams(location.hash.slice(1));
  for (const facet of FACETS) facet.chosen = new Set(view.getAll(facet.name));
  const tenThousandths = (name, usual) => {
    const given = Number(view.get(name) ?? usual);
    return Number.isInteger(given) && given >= 0 && given <= 10000 ? given : usual;
  };
  wanted = {
    words: view.get("words") ?? "", prefix: view.get("prefix") ?? "",
    from: tenThousandths("from", 0), below: tenThousandths("below", 10000),
    sort: Object.hasOwn(SORTS, view.get("sort") ?? "") ? view.get("sort") : "look",
  };
  $("search").value = wanted.words;
  $("prefix").value = wanted.prefix;
  $("sort").value = wanted.sort;
}

// ------------------------------------------------------------------------------------------------------- dialogs

const closeButton = (dialog) =>
  element("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");

/** Keys inside the enlarged view, besides Escape, which the dialog itself understands. */
const DETAIL_KEYS = {
  ArrowLeft: () => openDetail(grid.active - 1),
  ArrowRight: () => openDetail(grid.active + 1),
};

let enlarged = 0;

function openDetail(position) {
  if (position < 0 || position >= shown.length) return;
  enlarged = position;
  moveTo(position);
  const row = shown[grid.active];
  const dialog = $("detail");
  const rejected = value("status", row) === "rejected";
  const title = element("h2", { id: "detail-title", class: "data" },
    rejected ? "Rejected: " : "", rejected ? visible(value("error_code", row) ?? "") : table.labels[row] ?? "");
  if (!rejected) title.append(` ${confidenceText(table.confidence[row] / 10000)}`);
  if (value("needs_review", row)) title.append(" ", element("span", { class: "badge" }, "needs review"));
  dialog.replaceChildren(closeButton(dialog), title, element("div", { class: "split" }, largePicture(row),
    element("div", { class: "facts" }, ...factsOf(row), ...decisionButtons(row), steps())));
  if (!dialog.open) dialog.showModal();
  dialog.querySelector(".close").focus();
}

function largePicture(row) {
  const source = thumbnailOf(row);
  const frame = element("div", { class: "large" });
  if (source === null) {
    frame.append(element("span", { class: "muted" }, "no picture"));
    return frame;
  }
  const gone = () => frame.replaceChildren(element("span", { class: "muted" }, "no picture: deleted or replaced since"));
  const image = element("img", { src: source, alt: `The image ${table.keys[row]}`, onerror: gone });
  if (live) {
    const better = new Image();
    better.onload = () => { image.src = better.src; };
    better.src = `previews/${value("picture", row)}.jpg`;
  }
  frame.append(image);
  return frame;
}

function factsOf(row) {
  const parts = [];
  const top = value("top", row) ?? [];
  if (top.length) {
    const list = element("ol", { class: "top", "aria-label": "Best predictions" });
    for (let i = 0; i < top.length; i += 2) {
      list.append(element("li", {},
        element("div", {}, data(top[i]), element("span", { class: "number" }, top[i + 1].toFixed(4))),
        element("meter", { min: 0, max: 1, value: top[i + 1], "aria-label": `Confidence of ${top[i]}` })));
    }
    parts.push(list);
  }
  const facts = element("dl");
  const fact = (name, said) => {
    if (said === null || said === "") return;
    facts.append(element("dt", {}, name), element("dd", { class: "data" }, visible(said)));
  };
  const size = value("size_bytes", row);
  fact("reason", value("error_message", row));
  fact("image", value("image_uri", row));
  fact("size", size === null ? null : `${number.format(size)} bytes`);
  fact("review", value("review_reason", row));
  fact("novelty", value("novelty", row));
  const decided = [value("decided_label", row), value("reviewer", row), timeText(value("decided_at", row))];
  if (value("decision", row) !== null) fact("decision", [value("decision", row), ...decided].filter(Boolean).join(", "));
  fact("model", [value("model_name", row), value("model_version", row)].filter(Boolean).join(" "));
  fact("classified", timeText(value("classified_at", row)));
  parts.push(facts);
  return parts;
}

const timeText = (time) => time?.replace("T", " ").replace(/\.\d+Z$/, " UTC") ?? null;

function steps() {
  const step = (words, by) => element("button",
    { type: "button", disabled: !(grid.active + by >= 0 && grid.active + by < shown.length) && "", onclick: () => openDetail(grid.active + by) },
    words);
  return element("div", { class: "steps" }, step("← Previous", -1), step("Next →", 1),
    element("span", { class: "muted small" }, `${number.format(grid.active + 1)} of ${number.format(shown.length)}`));
}

/** Tables of what is shown: labels by model version, and the reasons of the rejected. */
function openCounts() {
  const dialog = $("counts");
  const [reasons, labels, models] = ["reason", "label", "model"].map((name) => FACETS.find((one) => one.name === name));
  const count = (rows, columns) => {
    const cells = new Map();
    for (const row of shown) {
      const [line, column] = [rows.codes[row], columns.codes[row]];
      if (line < 0) continue;
      const counts = cells.get(line) ?? cells.set(line, new Int32Array(columns.values.length + 1)).get(line);
      counts[Math.max(column, 0)]++;
      counts[columns.values.length]++;
    }
    return [...cells].sort((a, b) => b[1].at(-1) - a[1].at(-1));
  };
  const section = (title, rows) => {
    const counted = count(rows, models);
    if (!counted.length) return [];
    const used = models.values.map((name, code) => code).filter((code) => counted.some(([, counts]) => counts[code]));
    const head = [...used.map((code) => models.values[code]), ...(used.length > 1 ? ["all"] : [])];
    const columns = used.length > 1 ? [...used, models.values.length] : used;
    return [element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, title),
        ...head.map((name) => element("th", { scope: "col", class: "number data" }, name)))),
      element("tbody", {}, ...counted.map(([line, counts]) => element("tr", {},
        element("th", { scope: "row", class: "data" }, rows.values[line]),
        ...columns.map((code) => element("td", { class: "number" }, number.format(counts[code]))))))))];
  };
  dialog.replaceChildren(closeButton(dialog), element("h2", { id: "counts-title" }, `Counts of the ${$("summary").textContent}`),
    ...section("label", labels), ...section("rejected because", reasons));
  dialog.showModal();
}

// ----------------------------------------------------------------------------------------------------- decisions

const DECISION_COLUMNS = ["decision", "decided_label", "reviewer", "decided_at"];
const decisionBadge = (decision) =>
  element("span", { class: decision === "right" ? "badge right" : decision === "outdated" ? "badge" : "badge stop" }, decision);
const canDecide = (row) => reviewer !== null && row !== undefined && value("status", row) === "classified";
const decided = []; // what was known of an image before each decision, the last one at the end
let sending = Promise.resolve(); // one request at a time, in the order of the decisions

/** Sends a decision about the active image and goes on to the next, without waiting for the answer. */
function decide(decision, label = null) {
  const row = shown[grid.active];
  if (!canDecide(row)) return;
  const known = table; // a refresh may come before the answer
  const at = grid.active;
  sending = sending.then(async () => {
    const uri = known.columns.image_uri[row];
    const [former, formerLabel] = DECISION_COLUMNS.map((name) => known.columns[name]?.[row] ?? null);
    if (await send(known, row, { decision, label })) decided.push({ uri, former, formerLabel });
  });
  goOn(at + 1 < shown.length ? at + 1 : at);
}

/** Withdraws the last decision, or puts back the one before it, and returns to its image. */
function undo() {
  sending = sending.then(async () => {
    const last = decided.pop();
    const row = table.columns.image_uri?.indexOf(last?.uri) ?? -1; // a refresh may have moved it
    if (row < 0) return;
    const before = last.former === null || last.former === "outdated"
      ? { decision: "withdrawn", decided_at: value("decided_at", row) }
      : { decision: last.former, label: last.former === "corrected" ? last.formerLabel : null };
    if (await send(table, row, before) && shown.includes(row)) goOn(shown.indexOf(row));
  });
}

async function send(known, row, request) {
  const body = { image_uri: known.columns.image_uri[row], picture: known.columns.picture[row],
    model_version: known.columns.model_version[row], ...request };
  $("problem").hidden = true;
  let answer;
  try {
    const response = await fetch("decisions",
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    answer = await response.json();
  } catch (error) {
    answer = { error: error.message };
  }
  if ("error" in answer) {
    $("problem").textContent = `Not recorded for ${known.keys[row]}: ${visible(answer.error)}`;
    $("problem").hidden = false;
    if ($("detail").open) $("detail").close();
    return false;
  }
  for (const name of DECISION_COLUMNS) (known.columns[name] ??= [])[row] = answer[name];
  if (known === table) showDecision(row);
  return true;
}

/** The counts follow at once; what is shown stays until the next change of filters or order, so that nothing moves. */
function showDecision(row) {
  orders.delete("look");
  indexFacets(FACETS.filter((facet) => facet.name === "decision"));
  makeFacets();
  const kept = shown;
  applyFilters();
  shown = kept;
  showFacets();
  const index = Math.floor(shown.indexOf(row) / grid.columns);
  const focused = grid.drawn.get(index)?.contains(document.activeElement);
  grid.drawn.get(index)?.remove();
  grid.drawn.delete(index);
  drawRows();
  if (focused) focusActive();
  if ($("detail").open && shown[grid.active] === row) openDetail(grid.active);
}

function goOn(position) {
  if ($("detail").open) openDetail(position);
  else { moveTo(position); focusActive(); }
}

function decisionButtons(row) {
  if (!canDecide(row)) return [];
  const button = (words, key, act) => element("button", { type: "button", "aria-keyshortcuts": key, onclick: act },
    words, " ", element("kbd", {}, key));
  return [element("div", { class: "decide", role: "group", "aria-label": `Decide as ${visible(reviewer)}` },
    button("Right", "r", () => decide("right")), button("Wrong", "w", () => decide("wrong")),
    button("Label", "l", openChooser), button("Undo", "u", undo))];
}

// The label chooser: a text field whose list is filtered as one types; arrows and Enter choose.

let choices = [];
let choice = 0;

function openChooser() {
  if (!canDecide(shown[grid.active])) return;
  $("chosen").value = "";
  showChoices();
  $("chooser").showModal();
  $("chosen").focus();
}

/** Labels with what is typed in them, those that begin with it first; else in the order in which the model considered them. */
function showChoices() {
  const typed = $("chosen").value.trim();
  const sought = typed.toLowerCase();
  const later = (words) => (words.toLowerCase().startsWith(sought) ? 0 : 1);
  const considered = (value("top", shown[grid.active]) ?? []).filter((_, at) => at % 2 === 0);
  const known = new Set([...considered, ...[...knownLabels()].sort()]);
  const matching = [...known].filter((words) => words.toLowerCase().includes(sought)).sort((a, b) => later(a) - later(b));
  choices = matching.map((words) => ({ label: labelOf.get(words), words }));
  if (typed && !known.has(typed)) choices.push({ label: typed, words: `new label: ${visible(typed)}` });
  $("choices").replaceChildren(...choices.map(({ words }, at) =>
    element("li", { role: "option", id: `choice-${at}`, class: "data", onclick: () => choose(at) }, words)));
  markChoice(0);
}

function knownLabels() {
  for (const label of table.columns.decided_label ?? []) if (label) shownLabel(label);
  return labelOf.keys();
}

function markChoice(at) {
  choice = Math.max(0, Math.min(at, choices.length - 1));
  [...$("choices").children].forEach((option, index) => option.setAttribute("aria-selected", index === choice));
  $("chosen").setAttribute("aria-activedescendant", choices.length ? `choice-${choice}` : "");
  $("choices").children[choice]?.scrollIntoView({ block: "nearest" });
}

function choose(at) {
  if (!choices[at]) return;
  const { label } = choices[at];
  $("chooser").close();
  decide("corrected", label);
}

function onChooserKey(event) {
  const act = { ArrowDown: () => markChoice(choice + 1), ArrowUp: () => markChoice(choice - 1), Enter: () => choose(choice) }[event.key];
  if (!act || event.isComposing) return;
  event.preventDefault();
  act();
}

// ------------------------------------------------------------------------------------------------------ keyboard

const DECISION_KEYS = { r: () => decide("right"), w: () => decide("wrong"), l: openChooser, u: undo };

const typing = (target) => target.matches("input, select, textarea");

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (reviewer !== null && $("chooser").open) {
    if (event.target === $("chosen")) onChooserKey(event);
    return;
  }
  if ($("detail").open) {
    const act = DETAIL_KEYS[event.key] ?? (reviewer !== null && DECISION_KEYS[event.key]);
    if (act) { event.preventDefault(); act(); }
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !typing(event.target)) {
    event.preventDefault();
    $("search").select();
    $("search").focus();
  } else if (event.key === "Escape" && event.target === $("search")) {
    $("search").value = wanted.words = "";
    update();
    focusActive();
  } else if (event.key === "?" && !typing(event.target)) {
    $("help").showModal();
  } else if ($("grid").contains(event.target) || event.target === document.body) {
    onGridKey(event);
  }
}

function onGridKey(event) {
  const page = Math.max(1, Math.floor(grid.height / grid.rowHeight)) * grid.columns;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -grid.columns, ArrowDown: grid.columns, PageUp: -page, PageDown: page };
  if (event.key === "Enter") openDetail(grid.active);
  else if (event.key === "Home") moveTo(0);
  else if (event.key === "End") moveTo(shown.length - 1);
  else if (reviewer !== null && Object.hasOwn(DECISION_KEYS, event.key)) {
    event.preventDefault();
    DECISION_KEYS[event.key]();
    return;
  }
  else if (event.key in steps) moveTo(grid.active + (event.target === document.body ? 0 : steps[event.key]));
  else return;
  event.preventDefault();
  if (event.key !== "Enter") focusActive();
}

// --------------------------------------------------------------------------------------------------------- start

const THEMES = { auto: "Auto", dark: "Dark", light: "Light" };
let theme = "auto";

function setTheme(name) {
  theme = Object.hasOwn(THEMES, name) ? name : "auto";
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `◐ ${THEMES[theme]}`;
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}

/** The browser may keep nothing, such as for a file that was opened from disk; then the choice lasts for the page. */
function stored(act) {
  try { return act(localStorage); } catch { return null; }
}

let loading = live;

/** Reads the results as the table is read, and shows them as they come. */
async function load() {
  loading = true;
  $("refresh").disabled = true;
  $("counts-button").disabled = !table.count; // of a part they would be wrong
  $("problem").hidden = true;
  const fresh = emptyTable();
  let last = {};
  let drawn = 0;
  try {
    const response = await fetch("results.jsonl");
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value: piece, done } = await reader.read();
      if (done) break;
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        last = JSON.parse(line);
        if (!last.columns) continue;
        const before = table;
        table = fresh;
        addChunk(last);
        // The last view stays until the new one is complete, but a first one is shown as it grows.
        if (before !== fresh && before.count) table = before;
        else if (performance.now() - drawn > 500) { showTable(); drawn = performance.now(); }
      }
    }
    if (!last.end) throw new Error(last.error ?? "the server broke off");
  } catch (error) {
    $("problem").textContent = `The results could not be read completely: ${visible(error.message)}`;
    $("problem").hidden = false;
  }
  if (last.end || !table.count) table = fresh;
  if (last.end) setQueue(last.queue);
  $("note").hidden = !last.limit;
  $("limit").textContent = number.format(last.limit ?? 0);
  $("drift").hidden = !last.drift;
  $("drift").textContent = last.drift ?? "";
  loading = false;
  $("refresh").disabled = false;
  $("counts-button").disabled = false;
  $("read").textContent = `read ${new Date().toLocaleTimeString("en-GB")}`;
  showTable();
}

function showTable() {
  orders.clear();
  indexFacets();
  makeFacets();
  makeFolders();
  update({ keepPlace: true });
  if (loading) $("summary").textContent = `Loading: ${number.format(table.count)} results so far, not yet in their order`;
}

/** Says, to the performance timeline and to tests, that everything is shown. */
function ready() {
  performance.mark("ready");
  document.documentElement.dataset.ready = "";
}

function start() {
  for (const [name, [title]] of Object.entries(SORTS)) $("sort").append(element("option", { value: name }, title));
  setTheme(stored((storage) => storage.getItem("theme")) ?? "auto");
  makeHistogram();
  measureGrid();
  recallView();

  $("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(theme) + 1) % names.length]);
    stored((storage) => storage.setItem("theme", theme));
  });
  $("filters-button").addEventListener("click", () => {
    const open = $("filters").classList.toggle("open");
    $("filters-button").setAttribute("aria-expanded", open);
  });
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("counts-button").addEventListener("click", openCounts);
  $("search").addEventListener("input", () => { wanted.words = $("search").value; update(); });
  $("prefix").addEventListener("input", () => { wanted.prefix = $("prefix").value; update(); });
  $("sort").addEventListener("change", () => { wanted.sort = $("sort").value; update(); });
  for (const name of ["from", "below"]) {
    $(name).addEventListener("input", () => {
      const typed = Math.round($(name).valueAsNumber * 10000);
      if (typed >= 0 && typed <= 10000) setRange(...(name === "from" ? [typed, wanted.below] : [wanted.from, typed]));
    });
  }
  $("grid").addEventListener("click", (event) => {
    const cell = event.target.closest("[data-at]");
    if (cell) openDetail(Number(cell.dataset.at));
  });
  $("grid").addEventListener("focusin", (event) => {
    const cell = event.target.closest("[data-at]");
    if (cell) grid.active = Number(cell.dataset.at);
  });
  // The browser gives the focus back to the cell that was enlarged first.
  $("detail").addEventListener("close", () => { moveTo(enlarged); focusActive(); });
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
  if (reviewer !== null) $("chosen").addEventListener("input", showChoices);
  addEventListener("keydown", onKey);
  addEventListener("hashchange", () => { recallView(); update(); });
  let frame = 0;
  $("scroller").addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => { grid.top = $("scroller").scrollTop; drawRows(); });
  }, { passive: true });
  new ResizeObserver(() => { measureGrid(); resetGrid(); }).observe($("scroller"));

  if (live) {
    $("refresh").addEventListener("click", load);
    load().then(ready);
  } else {
    const pictures = $("thumbnails");
    if (pictures) thumbnails = JSON.parse(pictures.textContent);
    for (const block of document.querySelectorAll("script.chunk")) addChunk(JSON.parse(block.textContent));
    setQueue(JSON.parse($("queue")?.textContent ?? "[]"));
    showTable();
    ready();
  }
}

start();
}
