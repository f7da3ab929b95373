"use strict";
// Without this script the page shows its answer, figures and tables. The script sorts and filters
// tables, opens the evidence on the head of each dot, and lists all heads.

const query = selector => document.querySelector(selector);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Tables

function readCell(cell) {
  if (cell.dataset.v === undefined) return cell.textContent.trim().toLowerCase();
  return cell.dataset.v === "" ? NaN : +cell.dataset.v;
}

// Missing numbers come last, whichever way a column is sorted.
function compareValues(a, b, sign) {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function makeSortable(table, onSort) {
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const isNumeric = table.tBodies[0].rows[0]?.cells[i]?.classList.contains("n");
    if (isNumeric) head.classList.add("n");
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const wasAscending = head.getAttribute("aria-sort") === "ascending";
      [...head.parentNode.cells].forEach(cell => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", wasAscending ? "descending" : "ascending");
      onSort(i, wasAscending ? -1 : 1);
    });
  });
}

function sortRows(table, i, sign) {
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compareValues(readCell(a.cells[i]), readCell(b.cells[i]), sign));
  table.tBodies[0].append(...rows);
}

function holdsWords(text, words) {
  return words.toLowerCase().split(/\s+/).every(word => text.includes(word));
}

function filterRows(input) {
  for (const row of input.nextElementSibling.querySelectorAll("tbody tr")) {
    row.hidden = !holdsWords(row.textContent.toLowerCase(), input.value);
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  makeSortable(table, (i, sign) => sortRows(table, i, sign));
}
for (const input of document.querySelectorAll("input.filter")) {
  input.addEventListener("input", () => filterRows(input));
}

// Heads: what the page's data hold of head k, in words and numbers

function formatStrength(strength) {
  const isFraction = strength > 0 && strength < 1 && Number.isInteger(Math.log2(strength));
  return isFraction ? `1/${1 / strength}` : `${strength}`;
}

function formatRate([value, low, high]) {
  if (value === null) return "–";
  const limits = low === null ? "" : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  return value.toFixed(2) + limits;
}

// With as many digits as distinguish it from 100%.
function formatConfidence(level) {
  const digits = Math.max(0, Math.ceil(-Math.log10(1 - level)) - 1);
  return `${+(100 * level).toFixed(digits)}%`;
}

function readHeads(heads) {
  const word = (name, k) => heads[name].words[heads[name].codes[k]];
  const rate = (name, k) => heads.rates[name].map(column => {
    const hundredths = column?.[k] ?? null;
    return hundredths === null ? null : hundredths / 100;
  });
  const verdict = k => word("verdict", k).replaceAll("_", " ");
  const level = k => heads.level[k] ?? "all";
  const predictor = k => word("predictor", k).slice(0, 8);
  const isRate = name => name in heads.rates;
  const fill = (placeholder, name, k) => isRate(name) ? formatRate(rate(name, k)) : placeholder;
  const reason = k => word("reason", k).replace(/\{(\w+)\}/g, (all, name) => fill(all, name, k));
  const title = k => {
    const strength = `, strength ${formatStrength(heads.strength[k])}`;
    const arm = word("prior", k);
    const isPlain = arm === "none" || arm.startsWith("none (");
    const prior = isPlain ? arm.replace("none", "no prior") : arm + strength;
    return `${prior} · seed ${heads.seed[k]}`;
  };
  return { heads, word, rate, verdict, level, predictor, isRate, reason, title };
}

// The evidence on one head, and the config of one run, in a dialog

function drawInterval([value, low, high]) {
  const x = rate => 72 * (Math.min(1, Math.max(-1, rate)) + 1);
  const axis = `<path d="M0 6H144M72 2V10" stroke="var(--rule)"/>`;
  const line = low === null ? ""
    : `<path d="M${x(low)} 6H${x(high)}" stroke="var(--ink)" stroke-width="2.5"/>`;
  const dot = `<circle cx="${x(value)}" cy="6" r="3" fill="var(--ink)"/>`;
  const span = make("span", { className: "bar" });
  span.innerHTML = `<svg width="150" height="12" viewBox="-3 0 150 12" aria-hidden="true">`
    + `${axis}${line}${dot}</svg>`;
  return span;
}

function makeDialog(data, reader) {
  const { heads, word, rate } = reader;
  const dialog = query("#evidence"), details = query("#details");

  function open(...content) {
    details.replaceChildren(...content.filter(Boolean));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function showConfig(name) {
    open(make("h4", { textContent: name }), make("pre", { textContent: data.configs[name] }));
  }

  function makeRates(k) {
    const names = data.evidence.filter(name => reader.isRate(name) && rate(name, k)[0] !== null);
    const rows = names.map(name => {
      const { heading, meaning } = data.columns[name];
      const explained = make("td", {}, heading, make("small", { textContent: meaning }));
      const figure = make("td", { className: "n", textContent: formatRate(rate(name, k)) });
      return make("tr", {}, explained, figure, make("td", {}, drawInterval(rate(name, k))));
    });
    return make("table", {}, make("tbody", {}, ...rows));
  }

  function makeCosts(k) {
    const names = Object.keys(heads.costs).filter(name => heads.costs[name][k] !== null);
    const costs = names.map(name => {
      const value = heads.costs[name][k].toLocaleString("en", { maximumFractionDigits: 4 });
      return `${value} ${data.columns[name].heading}`;
    });
    const run = word("run", k);
    const config = make("button", { type: "button", className: "link", textContent: run });
    config.addEventListener("click", () => showConfig(run));
    return make("p", { className: "said" }, `Costs: ${costs.join(", ")}. Config: `, config);
  }

  function show(k) {
    const dot = make("i", { className: `dot ${word("verdict", k)}` });
    const level = heads.level[k] === null ? "all levels" : `level ${heads.level[k]}`;
    const predictor = `predictor ${reader.predictor(k)}`;
    const where = [reader.title(k), word("reporter", k), level, predictor].join(" · ");
    const reasons = reader.reason(k).split("; ");
    const settled = word("settled", k);
    const gap = heads.gap?.[k] ?? null;
    const gapWords = gap === null ? "" : ` (N·gap ${+gap.toPrecision(2)} nats)`;
    const unsettled = settled === "not settled"
      ? `It has not settled${gapWords} and counts in no mean.`
      : "Whether it has settled is not known; it counts in no mean.";
    const gates = word("failed_gates", k);
    const hasFailed = gates && gates !== "None" && gates !== "nan";
    const confidence = heads.interval_level?.[k] ?? null;
    const intervals = confidence === null ? ""
      : ` Intervals at ${formatConfidence(confidence)}, corrected for all heads of the run.`;
    open(
      make("h4", {}, dot, reader.verdict(k)),
      make("p", { className: "said", textContent: where }),
      make("ul", {}, ...reasons.map(text => make("li", { textContent: text }))),
      settled !== "settled" && make("p", { textContent: unsettled }),
      hasFailed && make("p", { textContent: `Failed gates: ${gates}.` }),
      makeRates(k),
      make("p", { className: "said", textContent: `Scale from −1 to 1.${intervals}` }),
      makeCosts(k),
    );
    history.replaceState(null, "", `#head-${k}`);
  }

  const forget = () => history.replaceState(null, "", location.pathname + location.search);
  dialog.addEventListener("close", forget);
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  return { show, showConfig };
}

// Dots

function findNearest(svg, dots, event) {
  const toDrawing = svg.getScreenCTM().inverse();
  const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(toDrawing);
  let nearest = null;
  let least = (event.pointerType === "touch" ? 14 : 7) ** 2;
  dots.x.forEach((x, i) => {
    const distance = (x / 10 - pointer.x) ** 2 + (dots.y[i] / 10 - pointer.y) ** 2;
    if (distance >= least) return;
    least = distance;
    nearest = dots.head[i];
  });
  return nearest;
}

function openDots(data, reader, dialog) {
  const tip = query("#tip");
  for (const svg of document.querySelectorAll("svg[data-dots]")) {
    const dots = data.dots[svg.dataset.dots];
    if (!dots) continue;
    svg.addEventListener("pointermove", event => {
      const k = findNearest(svg, dots, event);
      tip.hidden = k === null || event.pointerType === "touch";
      if (k === null) return;
      const follows = reader.rate("follows_concept", k)[0].toFixed(2);
      const { heading } = data.columns.follows_concept;
      tip.textContent = `${reader.verdict(k)}: ${heading} ${follows} · ${reader.title(k)}`;
      tip.style.left = `${Math.min(event.pageX + 12, scrollX + innerWidth - 290)}px`;
      tip.style.top = `${event.pageY + 14}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    svg.addEventListener("click", event => {
      const k = findNearest(svg, dots, event);
      tip.hidden = true;
      if (k !== null) dialog.show(k);
    });
  }
}

function openConfigs(dialog) {
  for (const row of document.querySelectorAll('[id$="-runs"] tbody tr')) {
    const name = row.cells[0].textContent;
    const button = make("button", { type: "button", className: "link", textContent: name });
    button.addEventListener("click", () => dialog.showConfig(name));
    row.cells[0].replaceChildren(button);
  }
}

// The list of all heads

function listHeads(data, reader, dialog) {
  const { heads, word } = reader;
  const heading = name => data.columns[name].heading;
  const fields = [
    ["head", k => k],
    [heading("verdict"), reader.verdict],
    [heading("prior"), k => word("prior", k)],
    [heading("strength"), k => heads.strength[k], formatStrength],
    [heading("reporter"), k => word("reporter", k)],
    [heading("level"), reader.level],
    [heading("predictor"), reader.predictor],
    [heading("seed"), k => heads.seed[k]],
    [heading("follows_concept"), k => reader.rate("follows_concept", k)[0], x => x.toFixed(2)],
    [heading("settled"), k => word("settled", k)],
    [heading("matched"), k => heads.matched[k] ? "matched" : ""],
    [heading("prequential_bits"), k => heads.costs.prequential_bits?.[k] ?? NaN],
  ].map(([name, read, format = String]) => ({ name, read, format }));
  const all = Array.from({ length: heads.n }, (_, k) => k);
  const texts = all.map(k => {
    return fields.map(({ read, format }) => format(read(k))).join(" ").toLowerCase();
  });
  let shown = all, limit = 50;

  const input = make("input", {
    type: "search", className: "filter", placeholder: "filter: any words",
  });
  input.setAttribute("aria-label", "Show only heads that hold these words");
  const count = make("span", { className: "said" });
  const more = make("button", { type: "button", textContent: "show 200 more" });
  const headings = fields.map(({ name }) => make("th", { scope: "col", textContent: name }));
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...headings)), make("tbody"));

  function makeCell(value, format) {
    if (typeof value !== "number") return make("td", { textContent: value });
    return make("td", { className: "n", textContent: Number.isNaN(value) ? "–" : format(value) });
  }

  function makeRow(k) {
    const row = make("tr", {}, ...fields.map(({ read, format }) => makeCell(read(k), format)));
    const button = make("button", { type: "button", textContent: `${k}` });
    button.setAttribute("aria-label", `evidence on head ${k}`);
    row.cells[0].replaceChildren(button);
    row.cells[1].prepend(make("i", { className: `dot ${word("verdict", k)}` }));
    row.addEventListener("click", () => dialog.show(k));
    return row;
  }

  function draw() {
    const n = shown.length.toLocaleString("en");
    count.textContent = `${n} of ${heads.n.toLocaleString("en")} heads`;
    table.tBodies[0].replaceChildren(...shown.slice(0, limit).map(makeRow));
    more.hidden = shown.length <= limit;
  }

  function filter() {
    shown = all.filter(k => holdsWords(texts[k], input.value));
    draw();
  }

  input.addEventListener("input", () => { limit = 50; filter(); });
  more.addEventListener("click", () => { limit += 200; draw(); });
  draw();
  makeSortable(table, (i, sign) => {
    const { read } = fields[i];
    all.sort((a, b) => compareValues(read(a), read(b), sign) || a - b);
    filter();
  });
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  query("#browser").append(input, count, scroll, more);
}

// Start

async function unpack() {
  if (!("DecompressionStream" in window)) {
    throw new Error("This browser cannot unpack the page's data, so the evidence on single heads"
      + " cannot be opened. Everything else is on the page.");
  }
  const letters = atob(query("#data").textContent.trim());
  const bytes = Uint8Array.from(letters, letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function start(data) {
  const reader = readHeads(data.heads);
  const dialog = makeDialog(data, reader);
  openDots(data, reader, dialog);
  openConfigs(dialog);
  listHeads(data, reader, dialog);
  document.body.classList.add("live");
  const named = location.hash.match(/^#head-(\d+)$/);
  if (named && +named[1] < data.heads.n) dialog.show(+named[1]);
}

function openAll() {
  for (const part of document.querySelectorAll("details")) part.open = true;
}

function showError(error) {
  query("#browser").append(make("p", { className: "said", textContent: error.message }));
}

addEventListener("beforeprint", openAll);
unpack().then(start).catch(showError);
