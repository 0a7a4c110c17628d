// Charts: drawn when they come into view. Few marks are drawn as SVG, whose colors follow the page by themselves;
// many as a bitmap, which is drawn again when the colors change.
const MOST_SVG = 1500;
const MOST_RANKS = 400;
const views = new Set();
let chosen = "";

const rowsOf = {
  ranks(subject) {
    const all = everyone(subject).filter((row) => row.hasBand).sort((a, b) => a.gp - b.gp || a.lo - b.lo);
    const last = Math.max(all.length - 1, 1), every = Math.ceil(all.length / MOST_RANKS);
    return all.flatMap((row, at) => (at % every === 0 || row.id === chosen ? [{ ...row, place: at / last, half: at / last > 0.5 }] : []));
  },
  achievement: (subject) => everyone(subject).filter((row) => row.hasBand && row.ach !== null && row.n !== null),
  levels(subject) {
    const counts = data.groupLabels.map(() => new Array(10).fill(0));
    for (let i = 0; i < SHOWN; i += 1) {
      if (rows.year[i] === year && rows.subject[i] === subject && rows.level[i] !== null) counts[rows.group[i]][rows.level[i] - 1] += 1;
    }
    const all = everyone(subject).length;
    return counts.flatMap((tally, code) => (tally.some(Boolean) ? tally.map((n, at) =>
      ({ group: data.groupLabels[code], level: at + 1, share: n / all, shown: n ? String(n) : "" })) : []));
  },
  changes(subject) {
    const moved = everyone(subject).filter((row) => row.change !== null);
    const cells = Array.from({ length: 100 }, (_, at) => ({ last: at % 10 + 1, level: Math.floor(at / 10) + 1, n: 0 }));
    for (const row of moved) cells[(row.level - 1) * 10 + row.last - 1].n += 1;
    return cells.map((cell) => ({ ...cell, shown: cell.n ? String(cell.n) : "", share: cell.n / Math.max(moved.length, 1),
      standing: cell.level > cell.last ? "above" : cell.level < cell.last ? "below" : "average" }));
  },
  waterfall: () => data.waterfall,
};
function rowsFor(element) {
  return element.rows ?? rowsOf[element.dataset.chart](data.subjectCodes.indexOf(element.dataset.subject));
}

const tip = byId("tip");
function showTip(_handler, event, _item, value) {
  if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
  const [[, title], ...lines] = Object.entries(value);
  tip.replaceChildren(textual("strong", "", String(title)), ...lines.map(([name, text]) => make("span", {},
    textual("span", "", name), textual("span", "", String(text)))));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 14 : event.clientY + 18}px`;
}
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

function resolved(spec) {
  const style = getComputedStyle(root);
  return JSON.parse(JSON.stringify(spec).replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
}
async function draw(element) {
  element.started = true;
  const kind = element.dataset.chart;
  const values = rowsFor(element);
  const chart = data.charts[kind];
  // Where lines are labelled, the height in the specification is that of one line.
  const lines = kind === "levels" || kind === "waterfall" ? new Set(values.map((row) => row.group ?? row.label)).size : 1;
  let spec = { ...chart, height: chart.height * lines };
  if (kind === "achievement" && matchMedia("(pointer: coarse)").matches) {
    spec.params = spec.params.filter((param) => param.name !== "brush");  // dragging scrolls there
  }
  const bitmap = values.length > MOST_SVG;
  if (bitmap) spec = resolved(spec);
  const options = { mode: "vega-lite", actions: false, renderer: bitmap ? "canvas" : "svg", ast: true, defaultStyle: false, tooltip: showTip };
  spec.datasets = { ...spec.datasets, rows: values };
  spec.params = spec.params.map((param) => (param.name === "chosen" ? { ...param, value: chosen }
    : param.name === "peak" ? { ...param, value: 1.2 * Math.max(...values.map((row) => row.p)) } : param));
  element.embedded?.view.finalize();
  const embedded = await vegaEmbed(element, spec, options);
  Object.assign(element, { embedded, bitmap });
  element.querySelector("svg, canvas")?.setAttribute("aria-hidden", "true");  // the label of the chart says what it shows
  embedded.view.addEventListener("click", (_event, item) => { if (item?.datum?.id) location.hash = address(item.datum.school); });
  if (spec.params.some((param) => param.name === "brush")) {
    let wait = 0;
    embedded.view.addSignalListener("brush", (_name, box) => {
      clearTimeout(wait);
      wait = setTimeout(() => dragged(element, box), 120);
    });
  }
  views.add(element);
  element.dataset.drawn = kind;
}
const failed = (error) => { root.dataset.state = "failed"; byId("trouble").hidden = false; console.error(error); };
function drawLater(elements) {
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      if (!entry.target.started) draw(entry.target).catch(failed);
    }
  }, { rootMargin: "600px" });
  for (const element of elements) watcher.observe(element);
}
// The rest one by one when there is time, so that the page can be printed.
function drawRest() {
  const next = [...document.querySelectorAll(".chart")].find((element) => !element.started && element.offsetParent);
  if (next) draw(next).catch(failed).finally(() => setTimeout(drawRest, 30));
}
function redraw() {
  for (const element of views) if (!element.rows) element.embedded.view.data("rows", rowsFor(element)).runAsync();
  labelYears();
}
function recolor() {
  for (const element of views) if (element.bitmap) draw(element).catch(failed);
}
function labelYears() {
  const label = several ? String(data.years[year]) : "";
  for (const element of document.querySelectorAll("figcaption .year, h2 .year, caption .year")) element.textContent = label;
}
function choose(id) {
  chosen = id;
  for (const element of views) {
    const kind = element.dataset.chart;
    if (kind === "ranks" || kind === "index") element.embedded.view.signal("chosen", id).data("rows", rowsFor(element)).runAsync();
    if (kind === "achievement") element.embedded.view.signal("chosen", id).runAsync();
  }
}
