"use strict";
// Every text of the data goes through textContent or an attribute setter: nothing is parsed
// as HTML, so labels and samples are shown, never run.
const data = JSON.parse(document.getElementById("data").textContent);
const { classes, columns, pictures } = data;
const thumbnails = Object.fromEntries( // several labels of one sample share its picture
  Object.entries(data.thumbnails).map(([row, picture]) => [row, pictures[picture]]));
const named = pictures.length > 0 && columns.id !== undefined; // then names need the room
document.body.classList.toggle("named-pictures", named);
const total = columns.quality.length;
const ROW = 44;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
const decisions = new Map(); // row -> { word, label }
const journal = []; // [row, decision], in the order in which they were made
const state = { sort: "quality", down: false, view: [], at: 0, threshold: data.threshold };
const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)} %`;
const width = (x) => `${100 * x}%`;
const count = (n) => n.toLocaleString("en-GB");
// Must agree with wrong_probability of summary.py.
const wrongness = (q) => (1 - q) ** 2 / ((1 - q) ** 2 + q ** 2);
const flagged = (row) => columns.quality[row] < state.threshold;
const keyOf = (row) => (columns.id ? columns.id[row] : String(columns.index[row]));

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// ---- decisions: kept in the browser, so that closing the page loses nothing

const STORE = `l2b-audit-${data.key}`;

function restore() {
  try {
    for (const [row, found] of JSON.parse(localStorage.getItem(STORE) || "[]")) {
      if (row < total) enter(row, found);
    }
  } catch { /* no storage: decisions live until the page is closed */ }
}

function enter(row, found) {
  journal.push([row, found]);
  decisions.set(row, found);
}

function remember() {
  try {
    localStorage.setItem(STORE, JSON.stringify(journal));
  } catch { /* as above */ }
}

function decide(word, label) {
  const row = state.view[state.at];
  if (row === undefined) return;
  const given = { keep: columns.observed[row], accept: columns.suggested[row], skip: -1 }[word];
  enter(row, { word, label: label ?? given });
  remember();
  if (byId("status").value === "open") {
    refilter(); // the row has left the view; the next one has moved up
    select(Math.min(state.at, state.view.length - 1));
  } else select(Math.min(state.at + 1, state.view.length - 1));
  showReviewed();
}

function showReviewed() {
  const done = [...decisions].filter(([, found]) => found.word !== "skip");
  const wrong = done.filter(([row, found]) => found.label !== columns.observed[row]).length;
  byId("reviewed").textContent = count(decisions.size);
  byId("reviewed-note").textContent = done.length
    ? `reviewed by you: ${count(wrong)} of ${count(done.length)} were wrong` : "reviewed by you";
}

// ---- export

function cell(text) {
  // Also behind quotes, as armed and defused of tables.py have it.
  const isFormula = /^'*[=+\-@\t\r]/.test(text) && (text.trim() === "" || isNaN(Number(text)));
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function decisionsAsCsv() {
  const lines = ["index,id,decision,label,observed"];
  for (const [row, { word, label }] of [...decisions].sort((a, b) => a[0] - b[0])) {
    const cells = [
      String(columns.index[row]), columns.id ? columns.id[row] : "", word,
      label < 0 ? "" : classes[label], classes[columns.observed[row]],
    ];
    lines.push(cells.map(cell).join(","));
  }
  return `\ufeff${lines.join("\r\n")}\r\n`;
}

function exportDecisions() {
  const url = URL.createObjectURL(new Blob([decisionsAsCsv()], { type: "text/csv" }));
  const link = make("a", { href: url, download: "decisions.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// ---- which rows are shown, and in what order

function statusTest(word) {
  if (word === "all") return () => true;
  if (word === "flagged") return flagged;
  if (word === "open") return (row) => flagged(row) && !decisions.has(row);
  if (word === "reviewed") return (row) => decisions.has(row);
  return (row) => decisions.get(row)?.word === word;
}

function matches(row, wanted) {
  return columns.preview[row].toLowerCase().includes(wanted)
    || keyOf(row).toLowerCase().includes(wanted)
    || classes[columns.observed[row]].toLowerCase().includes(wanted)
    || classes[columns.suggested[row]].toLowerCase().includes(wanted);
}

const COLUMNS = [
  { name: "index", title: "id", of: (row) => columns.id ? columns.id[row] : columns.index[row] },
  { name: "preview", title: "sample", of: (row) => columns.preview[row] },
  { name: "observed", title: "labelled", of: (row) => columns.observed[row] },
  { name: "suggested", title: "suggested", of: (row) => columns.suggested[row] },
  { name: "quality", title: "quality", of: (row) => columns.quality[row] },
  { name: "confidence", title: "confidence", of: (row) => columns.confidence[row] },
  { name: "decision", title: "decision", of: (row) => decisions.get(row)?.word ?? "~" },
];
if (columns.true) {
  COLUMNS.push({ name: "true", title: "truth", of: (row) => columns.true[row] });
}

function refilter() {
  const wanted = byId("search").value.trim().toLowerCase();
  const observed = byId("observed").value, suggested = byId("suggested").value;
  const test = statusTest(byId("status").value);
  const view = [];
  for (let row = 0; row < total; row++) {
    if (observed !== "" && columns.observed[row] !== Number(observed)) continue;
    if (suggested !== "" && columns.suggested[row] !== Number(suggested)) continue;
    if (test(row) && (wanted === "" || matches(row, wanted))) view.push(row);
  }
  const of = COLUMNS.find((column) => column.name === state.sort).of;
  const sign = state.down ? -1 : 1;
  const keys = new Map(view.map((row) => [row, of(row)]));
  view.sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    return x < y ? -sign : x > y ? sign : a - b;
  });
  state.view = view;
  byId("count").textContent = `${count(view.length)} of ${count(total)} labels`;
  byId("spacer").style.height = `${view.length * ROW}px`;
}

function refresh() {
  refilter();
  byId("viewport").scrollTop = 0;
  select(0);
}

// ---- the table: only rows in sight exist

function renderHead() {
  byId("head").classList.toggle("with-truth", Boolean(columns.true));
  byId("head").replaceChildren(...COLUMNS.map(({ name, title }) => {
    const on = state.sort === name;
    const arrow = on ? (state.down ? " ↓" : " ↑") : "";
    const attributes = { "data-sort": name, title: `Sort by ${title}`, role: "columnheader" };
    if (on) {
      attributes["data-on"] = "";
      attributes["aria-sort"] = state.down ? "descending" : "ascending";
    }
    attributes.onclick = () => {
      state.down = state.sort === name && !state.down;
      state.sort = name;
      renderHead();
      refresh();
    };
    return make("button", attributes, title + arrow);
  }));
}

// Of several labels a sample, the answer stays in sight where the name of the label is cut.
function labelCell(k, kind = "") {
  const name = classes[k];
  if (!data.tagged) return make("span", { class: kind, title: name }, name);
  const cut = name.lastIndexOf(": ");
  return make("span", { class: `parted ${kind}`, title: name },
    make("span", {}, name.slice(0, cut)), make("b", {}, name.slice(cut)));
}

function sampleCell(row) {
  const image = thumbnails[row];
  return image ? make("span", {}, make("img", { src: image, alt: columns.preview[row] }))
    : make("span", { title: columns.preview[row] }, columns.preview[row]);
}

function rowNode(place) {
  const row = state.view[place];
  const found = decisions.get(row);
  const fill = make("i");
  fill.style.width = width(columns.quality[row]);
  const node = make("div", { class: "row", role: "row", "data-row": row },
    make("span", { class: "key" }, keyOf(row)),
    sampleCell(row),
    labelCell(columns.observed[row]),
    labelCell(columns.suggested[row], "suggestion"),
    make("span", { class: "quality" }, columns.quality[row].toFixed(2), make("i", {}, fill)),
    make("span", {}, percent(columns.confidence[row])),
    make("span", {}, found ? make("span", { class: `tag ${found.word}` },
      { keep: "kept", accept: "corrected", skip: "skipped" }[found.word]) : ""));
  if (columns.true) {
    node.append(labelCell(columns.true[row]));
    node.classList.add("with-truth");
  }
  node.classList.toggle("flag", flagged(row));
  node.classList.toggle("current", place === state.at);
  node.addEventListener("click", () => select(place));
  return node;
}

function renderRows() {
  const viewport = byId("viewport");
  const first = Math.max(0, Math.floor(viewport.scrollTop / ROW) - 8);
  const last = Math.min(state.view.length,
    Math.ceil((viewport.scrollTop + viewport.clientHeight) / ROW) + 8);
  const nodes = [];
  for (let place = first; place < last; place++) nodes.push(rowNode(place));
  if (!state.view.length) {
    nodes.push(make("div", { class: "empty" }, "No label fits these filters."));
  }
  byId("rows").style.transform = `translateY(${first * ROW}px)`;
  byId("rows").replaceChildren(...nodes);
}

function select(place) {
  state.at = Math.max(0, Math.min(place, state.view.length - 1));
  const viewport = byId("viewport");
  const top = state.at * ROW;
  if (top < viewport.scrollTop) viewport.scrollTop = top;
  else if (top + ROW > viewport.scrollTop + viewport.clientHeight) {
    viewport.scrollTop = top + ROW - viewport.clientHeight;
  }
  renderRows();
  renderReview();
}

// ---- the review of one label

function reasons(row) {
  const first = columns.first_rejection[row], near = columns.neighbours[row];
  return [
    ["Quality of the label", columns.quality[row].toFixed(2)],
    ["Confidence in the suggestion", percent(columns.confidence[row])],
    ["Mean weight of the label (α)", columns.alpha[row].toFixed(2)],
    ["Mean weight of the prediction (β)", columns.beta[row].toFixed(2)],
    ["Epochs that rejected the label", percent(columns.rejected[row])],
    ["First rejected in epoch", first ? String(first) : "never"],
    ["Similar samples with this label", near === null ? "–" : percent(near)],
  ];
}

function choice(word, title, key) {
  const row = state.view[state.at];
  const on = decisions.get(row)?.word === word ? " on" : "";
  return make("button", { class: word + on, id: `do-${word}`, onclick: () => decide(word) },
    title, make("kbd", {}, key));
}

function otherLabel(row) {
  if (data.tagged) return ""; // yes or no: there is no third answer
  const chosen = make("select", { id: "other", "aria-label": "Another label" },
    make("option", { value: "" }, "choose…"));
  classes.forEach((name, k) => chosen.append(make("option", { value: k }, name)));
  const found = decisions.get(row);
  if (found?.word === "accept" && found.label !== columns.suggested[row]) {
    chosen.value = String(found.label);
  }
  chosen.addEventListener("change", () => {
    if (chosen.value === "") return;
    const label = Number(chosen.value);
    chosen.blur();
    decide(label === columns.observed[row] ? "keep" : "accept", label);
  });
  return make("label", { class: "other" }, "Neither: ", chosen);
}

function renderReview() {
  const panel = byId("review");
  const row = state.view[state.at];
  if (row === undefined) {
    panel.replaceChildren(make("p", { class: "empty" }, "Nothing to review."));
    return;
  }
  const image = thumbnails[row];
  const sample = image
    ? make("div", { class: "sample picture" }, make("img", { src: image, alt: columns.preview[row] }))
    : make("div", { class: "sample" }, columns.preview[row] || "(no text)");
  const differs = columns.observed[row] !== columns.suggested[row] ? " differs" : "";
  const list = make("dl");
  for (const [name, value] of reasons(row)) list.append(make("dt", {}, name), make("dd", {}, value));
  panel.replaceChildren(
    make("h2", {}, `Review ${count(state.at + 1)} of ${count(state.view.length)} · ${keyOf(row)}`),
    sample,
    make("div", { class: "versus" },
      make("div", {}, make("span", {}, "labelled"), make("b", {}, classes[columns.observed[row]])),
      make("div", { class: `new${differs}` }, make("span", {}, "suggested"),
        make("b", {}, classes[columns.suggested[row]]))),
    make("div", { class: "choices" },
      choice("keep", "Keep", "K"), choice("accept", "Accept", "A"), choice("skip", "Skip", "S")),
    otherLabel(row),
    list,
    keysHelp());
}

function keysHelp() {
  const help = make("p", { class: "keys" });
  const keys = [["↑ ↓", "move"], ["K", "keep label"], ["A", "accept suggestion"], ["S", "skip"],
    ["U", "undo"], ["/", "search"], ["E", "export"]];
  for (const [key, what] of keys) help.append(make("kbd", {}, key), ` ${what}  `);
  return help;
}

// ---- pictures

const BINS = 50;

function renderHistogram() {
  const counts = new Array(BINS).fill(0);
  for (const q of columns.quality) counts[Math.min(BINS - 1, Math.floor(q * BINS))]++;
  const highest = Math.sqrt(Math.max(1, ...counts));
  const picture = draw("svg", { viewBox: "0 0 400 118", role: "img",
    "aria-label": "Number of labels by quality" });
  counts.forEach((n, k) => {
    const height = 96 * Math.sqrt(n) / highest;
    const bar = draw("rect", { x: 8 * k + 0.7, width: 6.6, y: 100 - height, height, rx: 1.5,
      fill: (k + 0.5) / BINS < state.threshold ? "var(--accent)" : "var(--blue)",
      opacity: 0.85 });
    const title = `${count(n)} labels of quality ${(k / BINS).toFixed(2)}–${((k + 1) / BINS).toFixed(2)}`;
    bar.append(draw("title", {}, title));
    picture.append(bar);
  });
  const x = 400 * state.threshold;
  picture.append(
    draw("line", { x1: 0, x2: 400, y1: 100.5, y2: 100.5, stroke: "var(--line)" }),
    draw("line", { x1: x, x2: x, y1: 0, y2: 101, stroke: "var(--ink)", "stroke-dasharray": "3 3" }),
    draw("text", { x: 0, y: 114 }, "0  surely wrong"),
    draw("text", { x: 400, y: 114, "text-anchor": "end" }, "surely right  1"));
  byId("histogram").replaceChildren(picture);
}

function renderFlagged() {
  let inside = 0, expected = 0, all = 0;
  for (const q of columns.quality) {
    all += wrongness(q);
    if (q < state.threshold) { inside++; expected += wrongness(q); }
  }
  byId("threshold-value").textContent = state.threshold.toFixed(2);
  const node = byId("flagged");
  if (!inside) { node.textContent = "No label is flagged."; return; }
  node.replaceChildren(
    make("b", {}, count(inside)), " flagged. Expected precision ",
    make("b", { id: "precision" }, percent(expected / inside)), ": about ",
    make("b", {}, count(Math.round(expected))), " of them are wrong, ",
    make("b", {}, percent(expected / Math.max(all, 1e-9))), " of all wrong labels. ",
    make("span", { class: "hint" },
      "Estimated from the scores; too hopeful where errors follow a rule that the model learns."));
}

function flaggedJoint() {
  const size = classes.length, joint = new Map();
  for (let row = 0; row < total; row++) {
    const o = columns.observed[row], s = columns.suggested[row];
    if (flagged(row) && o !== s) joint.set(o * size + s, (joint.get(o * size + s) || 0) + 1);
  }
  return joint;
}

function shownClasses(joint) {
  if (classes.length <= 14) return classes.map((_, k) => k);
  const weight = new Array(classes.length).fill(0);
  for (const [place, n] of joint) {
    weight[Math.floor(place / classes.length)] += n;
    weight[place % classes.length] += n;
  }
  return weight.map((n, k) => [n, k]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, 14)
    .map(([, k]) => k).sort((a, b) => a - b);
}

function short(name, most) {
  const end = data.tagged ? name.length - name.lastIndexOf(": ") : 0; // the answer stays
  return name.length > most
    ? `${name.slice(0, most - 1 - end)}…${name.slice(name.length - end)}` : name;
}

function renderConfusion() {
  const joint = flaggedJoint(), shown = shownClasses(joint), size = shown.length;
  const longest = Math.min(12, Math.max(...shown.map((k) => classes[k].length)));
  const left = 26 + 6.4 * longest, step = Math.min(44, (400 - left) / size), side = size * step;
  const tilted = 6.4 * longest > step - 4;
  const top = 20 + (tilted ? 4.6 * longest + 8 : 14);
  const picture = draw("svg", { viewBox: `0 0 400 ${Math.ceil(top + side + 4)}`, role: "img",
    "aria-label": "Flagged labels by observed and suggested class" });
  picture.style.maxHeight = "330px";
  const most = Math.max(1, ...joint.values());
  picture.append(
    draw("text", { x: left + side / 2, y: 11, "text-anchor": "middle" }, "suggested →"),
    draw("text", { x: 10, y: top + side / 2, "text-anchor": "middle",
      transform: `rotate(-90 10 ${top + side / 2})` }, "← labelled"));
  shown.forEach((k, i) => {
    const x = left + i * step + step / 2, y = top + i * step + step / 2 + 4;
    picture.append(
      draw("text", tilted ? { x, y: top - 5, transform: `rotate(-40 ${x} ${top - 5})` }
        : { x, y: top - 5, "text-anchor": "middle" }, short(classes[k], 12)),
      draw("text", { x: left - 6, y, "text-anchor": "end" }, short(classes[k], 12)));
    shown.forEach((c, j) => picture.append(confusionCell(joint, k, c,
      { x: left + j * step, y: top + i * step, step, most })));
  });
  byId("confusion").replaceChildren(picture);
}

function confusionCell(joint, k, c, { x, y, step, most }) {
  const n = joint.get(k * classes.length + c) || 0;
  const strength = n / most;
  const cellNode = draw("g", { class: "cell", "data-cell": `${k}-${c}` },
    draw("title", {}, `${classes[k]} → ${classes[c]}: ${count(n)} flagged`),
    draw("rect", { x: x + 1, y: y + 1, width: step - 2, height: step - 2, rx: 3,
      fill: k === c || !n ? "var(--grey-soft)" : "var(--accent)",
      "fill-opacity": k === c ? 0.5 : n ? 0.15 + 0.85 * Math.sqrt(strength) : 1 }));
  if (n && step >= 20) {
    const text = draw("text", { x: x + step / 2, y: y + step / 2 + 4, "text-anchor": "middle" },
      n > 9999 ? `${Math.round(n / 1000)}k` : String(n));
    text.style.fill = strength > 0.3 ? "var(--paper)" : "var(--ink)";
    cellNode.append(text);
  }
  cellNode.addEventListener("click", () => { setFilter(k, c); });
  return cellNode;
}

function renderClasses() {
  const all = new Array(classes.length).fill(0), bad = new Array(classes.length).fill(0);
  for (let row = 0; row < total; row++) {
    all[columns.observed[row]]++;
    if (flagged(row)) bad[columns.observed[row]]++;
  }
  const shares = classes.map((_, k) => [bad[k] / Math.max(1, all[k]), k]).filter(([, k]) => all[k]);
  shares.sort((a, b) => b[0] - a[0] || all[b[1]] - all[a[1]]);
  byId("classes").replaceChildren(...shares.slice(0, 10).map(([share, k]) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = width(share);
    return make("button", { class: "bar", title: `${classes[k]}: show its flagged labels`,
      onclick: () => setFilter(k, "") },
    labelCell(k, "name"), make("span", { class: "track" }, fill),
    make("span", { class: "number" }, `${percent(share)} of ${count(all[k])}`));
  }));
}

function setFilter(observed, suggested) {
  byId("observed").value = String(observed);
  byId("suggested").value = String(suggested);
  byId("status").value = "flagged";
  refresh();
}

function setThreshold() {
  state.threshold = Number(byId("threshold").value);
  renderHistogram();
  renderFlagged();
  renderConfusion();
  renderClasses();
  refresh();
}

// ---- wiring

const later = (wait, call) => {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(call, wait); };
};

const ACTIONS = {
  k: () => decide("keep"), a: () => decide("accept"), s: () => decide("skip"),
  u: undo, e: exportDecisions, "/": () => byId("search").focus(),
  ArrowDown: () => select(state.at + 1), ArrowUp: () => select(state.at - 1),
  PageDown: () => select(state.at + 10), PageUp: () => select(state.at - 10),
  Home: () => select(0), End: () => select(state.view.length - 1),
};

function undo() {
  if (!journal.length) return;
  const [last] = journal.pop();
  const before = journal.findLast(([row]) => row === last);
  if (before) decisions.set(...before);
  else decisions.delete(last);
  remember();
  refilter();
  const place = state.view.indexOf(last);
  select(place < 0 ? state.at : place);
  showReviewed();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (typing && event.target.type !== "range") {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const action = ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()];
  if (!action || (typing && event.key.length > 1)) return;
  event.preventDefault();
  action();
});

for (const name of ["observed", "suggested"]) {
  classes.forEach((label, k) => byId(name).append(make("option", { value: k }, label)));
  byId(name).addEventListener("change", refresh);
}
byId("status").addEventListener("change", refresh);
byId("search").addEventListener("input", later(120, refresh));
byId("threshold").addEventListener("input", later(30, setThreshold));
byId("viewport").addEventListener("scroll", () => requestAnimationFrame(renderRows));
byId("export").addEventListener("click", exportDecisions);
byId("clear").addEventListener("click", () => {
  byId("search").value = byId("observed").value = byId("suggested").value = "";
  byId("status").value = "flagged";
  refresh();
});
window.addEventListener("resize", later(100, renderRows));

byId("threshold").value = String(state.threshold);
restore();
renderHead();
setThreshold();
showReviewed();
