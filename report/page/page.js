"use strict";
// The page stands without this; it sorts, filters, and leads each dot to its head's evidence.
const KINDS = { direct_translator: "direct translator", human_imitator: "human imitator" };
const make = (tag, props = {}, ...inner) => { const node = Object.assign(document.createElement(tag), props); node.append(...inner); return node; };
const $ = (query, root = document) => root.querySelector(query);
const value = cell => cell.dataset.v !== undefined ? (cell.dataset.v === "" ? NaN : +cell.dataset.v) : cell.textContent.trim().toLowerCase();
const order = (a, b) => typeof a === "number" && typeof b === "number"
  ? (Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b) : String(a).localeCompare(String(b), "en", { numeric: true });

function sortable(table, onSort) {
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    if (table.tBodies[0].rows[0]?.cells[i]?.classList.contains("n")) head.classList.add("n");
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      [...head.parentNode.cells].forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      onSort(i, down ? -1 : 1);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(table => sortable(table, (i, sign) => {
  const missing = row => Number.isNaN(value(row.cells[i]));
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => missing(a) !== missing(b) ? missing(a) - missing(b) : sign * order(value(a.cells[i]), value(b.cells[i])));
  table.tBodies[0].append(...rows);
}));

const holds = (text, words) => words.toLowerCase().split(/\s+/).every(word => text.includes(word));
document.querySelectorAll("input.filter").forEach(input => input.addEventListener("input", () => {
  for (const row of input.nextElementSibling.querySelectorAll("tbody tr")) row.hidden = !holds(row.textContent.toLowerCase(), input.value);
}));

async function unpack() {
  if (!("DecompressionStream" in window)) throw new Error("This browser cannot unpack the page's data, so dots and heads cannot be opened; all else is here.");
  const bytes = Uint8Array.from(atob($("#data").textContent.trim()), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function app(data) {
  const { heads, dots, words, configs } = data;
  const word = (name, k) => heads[name].words[heads[name].codes[k]];
  const kind = k => KINDS[word("verdict", k)] ?? word("verdict", k);
  const rate = (name, k) => heads.rates[name].map(column => column?.[k] == null ? null : column[k] / 100);
  const written = ([at, low, high]) => at.toFixed(2) + (low == null ? "" : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`);
  const reason = k => word("reason", k).replace(/\{(\w+)\}/g, (_, name) => written(rate(name, k)));
  const strength = s => s > 0 && s < 1 && Number.isInteger(Math.log2(s)) ? `1/${1 / s}` : `${s}`;
  const title = k => `${word("prior", k) === "none" ? "no prior" : `${word("prior", k)}, strength ${strength(heads.strength[k])}`} · seed ${heads.seed[k]}`;
  const dialog = $("#evidence"), told = $("#told"), tip = $("#tip");

  function bar([at, low, high]) {
    const span = make("span", { className: "bar" }), x = v => 72 * (Math.min(1, Math.max(-1, v)) + 1);
    span.innerHTML = `<svg width="150" height="12" viewBox="-3 0 150 12" aria-hidden="true"><path d="M0 6H144M72 2V10" stroke="var(--rule)"/>`
      + (low == null ? "" : `<path d="M${x(low)} 6H${x(high)}" stroke="var(--ink)" stroke-width="2.5"/>`) + `<circle cx="${x(at)}" cy="6" r="3" fill="var(--ink)"/></svg>`;
    return span;
  }

  function show(k) {
    const parts = reason(k).match(/^(.*?)(?:\. (So it .*|[A-Z][^.]*\.?))?$/s);
    const evidence = (parts?.[1] ?? reason(k)).replace(/ \(intervals at [^)]*\)/, "").split("; ");
    const level = reason(k).match(/intervals at ([\d.]+%)/)?.[1];
    const rows = Object.keys(words).filter(name => heads.rates[name] && rate(name, k)[0] !== null).map(name => {
      const [at, low, high] = rate(name, k);
      return make("tr", {}, make("td", { textContent: words[name] }), make("td", { className: "n", textContent: written([at, low, high]) }), make("td", {}, bar([at, low, high])));
    });
    const gates = word("failed_gates", k);
    const config = make("button", { type: "button", className: "link", textContent: word("run", k) });
    config.addEventListener("click", () => showConfig(word("run", k)));
    told.replaceChildren(make("h4", {}, make("i", { className: `dot ${word("verdict", k)}` }), `${kind(k)} `),
      make("p", { className: "said", textContent: `${title(k)} · ${word("reporter", k)} · ${heads.level[k] == null ? "all levels" : `level ${heads.level[k]}`} · predictor ${word("predictor", k).slice(0, 8)}` }),
      make("ul", {}, ...evidence.filter(Boolean).map(text => make("li", { textContent: text }))),
      make("p", {}, make("b", { textContent: parts?.[2] ?? "" })),
      gates && gates !== "None" && gates !== "nan" ? make("p", { textContent: `Stopped at a gate: ${gates}.` }) : "",
      make("table", {}, make("tbody", {}, ...rows)),
      make("p", { className: "said", textContent: `Scale from −1 to 1.${level ? ` Intervals at ${level}, corrected for all heads of the run.` : ""}` }),
      make("p", { className: "said" }, "Costs: ", Object.entries(heads.costs).filter(([, column]) => column[k] !== null).map(([name, column]) => `${column[k].toLocaleString("en")} ${{ prequential_bits: "bits", flops: "FLOPs" }[name] ?? name}`).join(", "), ". Config: ", config));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    history.replaceState(null, "", `#head-${k}`);
  }
  function showConfig(name) {
    told.replaceChildren(make("h4", { textContent: name }), make("pre", { textContent: configs[name] }));
    if (!dialog.open) dialog.showModal();
  }
  dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

  document.querySelectorAll("svg[data-dots]").forEach(svg => {
    const place = dots[svg.dataset.dots];
    if (!place) return;
    const nearest = event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = -1, least = (event.pointerType === "touch" ? 14 : 7) ** 2;
      place.x.forEach((x, i) => { const far = (x / 10 - at.x) ** 2 + (place.y[i] / 10 - at.y) ** 2; if (far < least) { least = far; best = i; } });
      return best < 0 ? null : place.head[best];
    };
    svg.addEventListener("pointermove", event => {
      const k = nearest(event);
      tip.hidden = k === null || event.pointerType === "touch";
      if (k === null) return;
      tip.textContent = `${kind(k)}: follows X on ${rate("follows_concept", k)[0].toFixed(2)} · ${title(k)}`;
      tip.style.left = `${Math.min(event.pageX + 12, scrollX + innerWidth - 290)}px`;
      tip.style.top = `${event.pageY + 14}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    svg.addEventListener("click", event => { const k = nearest(event); tip.hidden = true; if (k !== null) show(k); });
  });

  document.querySelectorAll('[id$="-runs"] tbody tr').forEach(row => {
    const button = make("button", { type: "button", className: "link", textContent: row.cells[0].textContent });
    button.addEventListener("click", () => showConfig(button.textContent));
    row.cells[0].replaceChildren(button);
  });
  browser(heads, { word, kind, rate, strength, show });
  document.body.classList.add("live");
  const asked = location.hash.match(/^#head-(\d+)$/);
  if (asked && +asked[1] < heads.n) show(+asked[1]);
}

function browser(heads, { word, kind, rate, strength, show }) {
  const follows = k => rate("follows_concept", k)[0];
  const fields = [["head", k => k], ["verdict", kind], ["prior", k => word("prior", k)], ["strength", k => heads.strength[k]], ["reporter", k => word("reporter", k)],
    ["level", k => heads.level[k] ?? "all"], ["predictor", k => word("predictor", k).slice(0, 8)], ["seed", k => heads.seed[k]], ["follows X", follows],
    ["matched", k => heads.matched[k] ? "matched" : ""], ["bits", k => heads.costs.prequential_bits?.[k] ?? NaN]];
  const all = Array.from({ length: heads.n }, (_, k) => k);
  const text = all.map(k => fields.map(([name, of]) => name === "strength" ? strength(of(k)) : of(k)).join(" ").toLowerCase());
  let shown = all, limit = 50;
  const input = make("input", { type: "search", className: "filter", placeholder: "filter: any words" });
  input.setAttribute("aria-label", "Show only heads that hold these words");
  const count = make("span", { className: "said" }), more = make("button", { type: "button", textContent: "show 200 more" });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...fields.map(([name]) => make("th", { scope: "col", textContent: name })))), make("tbody"));
  const cell = (name, x) => typeof x === "number"
    ? make("td", { className: "n", textContent: name === "strength" ? strength(x) : Number.isNaN(x) ? "–" : name === "follows X" ? x.toFixed(3) : name === "bits" ? x.toFixed(0) : `${x}` })
    : make("td", { textContent: x });
  function draw() {
    count.textContent = `${shown.length.toLocaleString("en")} of ${heads.n.toLocaleString("en")} heads`;
    table.tBodies[0].replaceChildren(...shown.slice(0, limit).map(k => {
      const row = make("tr", {}, ...fields.map(([name, of]) => cell(name, of(k))));
      const open = make("button", { type: "button", textContent: `${k}` });
      open.setAttribute("aria-label", `evidence of head ${k}`);
      row.cells[0].replaceChildren(open);
      row.addEventListener("click", () => show(k));
      row.cells[1].prepend(make("i", { className: `dot ${word("verdict", k)}` }));
      return row;
    }));
    more.hidden = shown.length <= limit;
  }
  input.addEventListener("input", () => { limit = 50; shown = all.filter(k => holds(text[k], input.value)); draw(); });
  more.addEventListener("click", () => { limit += 200; draw(); });
  draw();
  sortable(table, (i, sign) => { const of = fields[i][1]; all.sort((a, b) => sign * order(of(a), of(b)) || a - b); shown = all.filter(k => holds(text[k], input.value)); draw(); });
  const scroll = make("div", { className: "scroll" }, table);
  scroll.tabIndex = 0;
  $("#browser").append(input, count, scroll, more);
}

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
unpack().then(app).catch(error => { $("#browser").append(make("p", { className: "said", textContent: error.message })); });
