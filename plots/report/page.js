// Filters, sorting, details, charts and samples of the page.  Untrusted text enters as text nodes only.
const data = JSON.parse(document.getElementById("data").textContent);
const VIEWS = ["direct", "cot", "rag"];
const byId = (id) => document.getElementById(id);
const form = byId("filters");
const body = byId("rows").tBodies[0];
const lines = [...body.rows];
const MARKS = {
  circle: "M7 2a5 5 0 1 0 .01 0z", square: "M2.5 2.5h9v9h-9z", "triangle-up": "M7 1.5l6 10.5H1z",
  diamond: "M7 1l5 6-5 6-5-6z", "triangle-down": "M7 12.5L1 2h12z", cross: "M5 1h4v4h4v4H9v4H5V9H1V5h4z",
  "triangle-right": "M12.5 7L2 13V1z",
};

function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

// Filters: data-i is each row's number; the charts get the rows that are shown.
function chosen() {
  const wanted = [...form.elements].filter((field) => field.name && field.value);
  return data.rows.filter((row) => wanted.every((field) => field.name === "search"
    ? Object.values(row).some((value) => String(value).toLowerCase().includes(field.value.toLowerCase()))
    : String(row[field.name]) === field.value));
}

let waiting;
function apply() {
  const rows = chosen();
  const shown = new Set(rows.map((row) => row.i));
  for (const line of lines) {
    line.hidden = !shown.has(Number(line.dataset.i));
    if (line.detail) line.detail.hidden = line.hidden;
  }
  byId("count").textContent = `${rows.length} of ${data.rows.length} models`;
  clearTimeout(waiting);
  waiting = setTimeout(() => draw(rows), 30);
}

// Sorting: numbers as numbers, the rest as text; a row's details stay below it.
function sort(heading, column) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (line) => line.cells[column].dataset.v;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // unknown values come last
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return ascending ? order : -order;
  };
  lines.sort(compare);
  body.append(...lines.flatMap((line) => (line.detail ? [line, line.detail] : [line])));
}

function toggle(line, button) {
  if (!line.detail) {
    line.detail = make("tr", { class: "detail" }, make("td", { colspan: line.cells.length }, details(data.rows[line.dataset.i])));
    line.after(line.detail);
    button.setAttribute("aria-expanded", "true");
  } else {
    line.detail.remove();
    line.detail = null;
    button.setAttribute("aria-expanded", "false");
  }
}

function details(row) {
  const list = make("dl");
  const add = (name, value, wide) => list.append(make("div", wide ? { class: "wide" } : {},
    make("dt", { text: name }), make("dd", { text: value === null || value === "" ? "not known" : value })));
  for (const [name, value] of Object.entries(row)) if (name !== "i") add(name, value, name === "source");
  const starts = data.environments[row.i];
  if (starts) add("started on", Object.entries(starts).map(([name, value]) => `${name} ${value}`).join(", "), true);
  if (!data.curves[row.i]) add("learning curve", "no curve kept", true);
  return list;
}

// Charts: a panel for each problem and view among the rows that are shown.
const variant = (row) => [row.family === "default" ? "" : row.family, row.options].filter(Boolean).join(" ");
const problem = (row) => `${row.task} ${variant(row)}`;
const viewName = (mode) => form.querySelector(`[name=mode] option[value="${CSS.escape(mode)}"]`)?.textContent ?? mode;

function panelsOf(rows) {
  const groups = new Map();
  const place = (row) => VIEWS.indexOf(row.mode);
  const ordered = [...rows].sort((a, b) => problem(a).localeCompare(problem(b)) || place(a) - place(b));
  for (const row of ordered) {
    const key = JSON.stringify([row.task, row.mode, variant(row)]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return groups;
}

function filled(spec, values, params = {}) {
  const copy = structuredClone(spec);
  copy.data.values = values;
  for (const param of copy.params ?? []) param.value = params[param.name] ?? param.value;
  const models = [...new Map([...values].sort((a, b) => a.place - b.place).map((value) => [value.model, 0])).keys()];
  const visit = (node) => {
    if (node === null || typeof node !== "object") return;
    if (node.field === "arch" && node.scale) {
      node.scale.domain = data.legend.map((entry) => entry.arch);
      node.scale.range = data.legend.map((entry) => (node.marks ? entry.mark : entry.colour));
      delete node.marks;
    }
    if (node.field === "model" && node.sort) node.sort = models;
    Object.values(node).forEach(visit);
  };
  visit(copy.encoding);
  visit(copy.layer);
  return copy;
}

// Sizes by the smallest number of parameters that a model of that size has.
const SIZES = 4; // that marks and lines can distinguish
const sizes = [...new Set([...data.rows].sort((a, b) => (a.parameters ?? 0) - (b.parameters ?? 0)).map((row) => row.size))];
const named = (row) => ({ ...row, model: `${row.arch} ${row.size}`, rank: Math.min(SIZES - 1, sizes.indexOf(row.size)) });

const drawn = { accuracy: [], curve: [], learned: [] };
let turn = 0;
async function drawPanels(kind, host, groups, specOf) {
  const mine = turn;
  for (const view of drawn[kind]) view.finalize();
  drawn[kind] = [];
  const panels = [...groups.values()].map((rows) => {
    const name = `${rows[0].task}, ${viewName(rows[0].mode)}`;
    const plot = make("div", { class: "plot" });
    const heading = make("h3", {}, name, make("small", { text: variant(rows[0]), title: variant(rows[0]) }));
    return { name: `${name} ${variant(rows[0])}`, rows, plot, figure: make("figure", { class: "panel" }, heading, plot) };
  });
  host.replaceChildren(...panels.map((panel) => panel.figure));
  for (const { name, rows, plot } of panels) {
    if (mine !== turn) return;
    const spec = { ...specOf(rows), description: `${kind} of ${name}, ${rows.length} models; the table has the numbers` };
    drawn[kind].push(await window.vegaEmbed(plot, spec, { actions: false, renderer: "svg", ast: true }));
  }
}

function modelOrder(row) {
  return data.legend.findIndex((entry) => entry.arch === row.arch) * 1e12 + (row.parameters ?? 0);
}

async function draw(rows) {
  turn += 1;
  const lows = rows.map((row) => Math.min(row.accuracy_low, row.chance ?? 1));
  const lowest = Math.min(0.5, ...lows.map((low) => Math.floor(low * 10) / 10));
  const points = (group) => group.map((row) => ({ ...named(row), place: modelOrder(row), line: data.lines[row.i] }));
  const along = (curves) => (group) => group.flatMap((row) => {
    const { i, arch, model, rank, n, seed, lr } = named(row);
    return curves[i].map(([samples, value]) => ({ i, arch, model, rank, n, seed, lr, samples, value }));
  });
  const losses = (group) => along(data.curves)(group).filter((point) => point.value > 0); // as their scale needs
  await drawPanels("accuracy", byId("accuracy-panels"), panelsOf(rows),
    (group) => filled(data.charts.accuracy, points(group), { lowest }));
  await drawPanels("curve", byId("curve-panels"), panelsOf(rows.filter((row) => data.curves[row.i])),
    (group) => filled(data.charts.curve, losses(group)));
  await drawPanels("learned", byId("learned-panels"), panelsOf(rows.filter((row) => data.learned[row.i])),
    (group) => filled(data.charts.learned, along(data.learned)(group)));
  document.body.dataset.drawn = turn;
}

function drawLegend() {
  for (const { name, colour, mark } of data.legend) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 14 14");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", MARKS[mark]);
    path.setAttribute("fill", colour);
    svg.append(path);
    byId("legend").append(make("li", {}, svg, name));
  }
}

// Samples of the chosen run.
function showSamples(i) {
  byId("traces").replaceChildren(...(data.samples[i] ?? []).map((sample) => {
    const verdict = make("span", { class: sample.right ? "right" : "wrong", text: sample.right ? "✓ right answer" : "✗ wrong or no answer" });
    const trace = sample.departs === null ? "as the gold trace" : `departs at token ${sample.departs + 1}`;
    const written = make("p", { class: "trace" }, make("span", { class: "label", text: "written" }));
    for (const [kind, text, off, first] of sample.pieces) {
      const classes = ["piece", kind, off ? "off" : "", first ? "first" : ""].filter(Boolean).join(" ");
      written.append(make("span", { class: classes, text }), " ");
    }
    if (sample.more) written.append(`… and ${sample.more.toLocaleString("en")} tokens more`);
    const block = make("article", { class: "sample" },
      make("h3", {}, make("span", { text: `problem ${sample.index}` }), verdict, make("span", { class: "soft", text: trace })),
      make("p", { class: "trace soft" }, make("span", { class: "label", text: "given" }), sample.prompt), written);
    if (sample.gold) block.append(make("p", { class: "trace soft" }, make("span", { class: "label", text: "the gold trace from there" }), sample.gold));
    return block;
  }));
}

byId("every").addEventListener("change", (event) => byId("rows").classList.toggle("every-column", event.target.checked));
form.addEventListener("input", apply);
form.addEventListener("reset", () => setTimeout(apply));
form.addEventListener("submit", (event) => event.preventDefault());
[...byId("rows").tHead.rows[0].cells].forEach((heading, column) => {
  heading.querySelector("button")?.addEventListener("click", () => sort(heading, column));
});
for (const line of lines) {
  const button = line.querySelector("button");
  button.addEventListener("click", () => toggle(line, button));
}
const run = byId("run");
if (run) {
  run.addEventListener("change", () => showSamples(run.value));
  showSamples(run.value);
}
drawLegend();
apply();
