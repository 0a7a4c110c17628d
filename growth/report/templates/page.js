"use strict";
// The program of the page: one copy of the results feeds the charts and the table. Text from the data only ever
// becomes text (textContent), never markup.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const FIRST_ROWS = 120;

  // Results -------------------------------------------------------------------------------------------------
  const standing = (lo, hi) => (lo > 50 ? "above" : hi < 50 ? "below" : "average");
  const tenth = (value) => Math.min(Math.floor(value / 10), 9) + 1;
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const results = data.rows.school.map((school, i) => {
    const at = (name) => data.rows[name][i];
    const [id, name] = data.schools[school];
    const group = at("group");
    const shown = at("reason") === null;
    const reasons = group === data.everyone ? data.reasons : data.groupReasons;
    const hasBand = shown && at("lo") !== null && at("hi") !== null;
    const row = {
      id, name, group, year: at("year"), subject: at("subject"), n: at("n"), gp: at("gp"), lo: at("lo"), hi: at("hi"),
      level: at("level"), ach: at("ach"), average: at("average"), shown, hasBand,
      groupName: at("detail") ?? data.groups[group],
      nShown: at("n") === null ? (shown ? data.atLeast : "") : at("n").toLocaleString("en"),
      reason: shown ? "" : reasons[at("reason")],
    };
    if (shown) row.gpShown = String(Math.floor(row.gp));
    if (hasBand) {
      row.band = `${Math.floor(row.lo)}–${Math.floor(row.hi)}`;
      row.standing = standing(row.lo, row.hi);
      const [low, high] = [tenth(row.lo), tenth(row.hi)];
      row.levels = data.tens ? (low === high ? `(${low})` : `(${low}–${high})`) : "";
    }
    if (row.ach !== null) row.achShown = signed(row.ach);
    row.sought = fold(`${name} ${id}`);
    return row;
  });
  function fold(text) {
    return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  }

  // Elements --------------------------------------------------------------------------------------------------
  function make(tag, options = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const textual = (tag, className, text) => {
    const element = make(tag, className ? { class: className } : {});
    element.textContent = text;
    return element;
  };

  // Charts ----------------------------------------------------------------------------------------------------
  const yearPick = byId("year");
  let year = data.years.length - 1;
  const views = [];

  const rowsOf = {
    ranks(subject) {
      const rows = everyone(subject).filter((row) => row.hasBand).sort((a, b) => a.gp - b.gp || a.lo - b.lo);
      const last = Math.max(rows.length - 1, 1);
      return rows.map((row, at) => ({ ...row, place: at / last, half: at / last > 0.5 }));
    },
    achievement: (subject) => everyone(subject).filter((row) => row.hasBand && row.ach !== null && row.n !== null),
    levels(subject) {
      const rows = results.filter((row) => row.year === year && row.subject === subject && row.level !== null);
      return data.groupLabels.flatMap((group, code) => {
        const own = rows.filter((row) => row.group === code);
        return own.length ? tiles(group, own, everyone(subject)) : [];
      });
    },
    waterfall: () => data.waterfall,
  };
  function everyone(subject) {
    return results.filter((row) => row.year === year && row.subject === subject && row.group === data.everyone);
  }
  function tiles(group, rows, schools) {
    return Array.from({ length: 10 }, (_, at) => {
      const count = rows.filter((row) => row.level === at + 1).length;
      return { group, level: at + 1, share: count / schools.length, shown: count ? String(count) : "" };
    });
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

  async function draw(element) {
    const kind = element.dataset.chart;
    const subject = data.subjectCodes.indexOf(element.dataset.subject);
    const rows = rowsOf[kind](subject);
    const chart = data.charts[kind];
    // Where lines are labelled, the height in the specification is that of one line.
    const lines = kind === "levels" || kind === "waterfall" ? new Set(rows.map((row) => row.group ?? row.label)).size : 1;
    const spec = { ...chart, height: chart.height * lines, datasets: { ...chart.datasets, rows } };
    const options = { mode: "vega-lite", actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: showTip };
    const { view } = await vegaEmbed(element, spec, options);
    views.push({ view, kind, subject });
  }
  function redraw() {
    for (const { view, kind, subject } of views) view.data("rows", rowsOf[kind](subject)).runAsync();
    labelYears();
  }
  function labelYears() {
    const label = data.years.length > 1 ? String(data.years[year]) : "";
    for (const element of document.querySelectorAll("figcaption .year")) element.textContent = label;
  }
  function choose(id) {
    for (const { view, kind } of views) if (kind === "ranks" || kind === "achievement") view.signal("chosen", id).runAsync();
  }

  // Table -----------------------------------------------------------------------------------------------------
  const table = byId("table");
  const body = table.tBodies[0];
  const find = byId("find");
  const subjectPick = byId("subject");
  const groupPick = byId("group");
  const more = byId("more");
  const order = { by: "name", direction: 1 };
  let all = false;
  let opened = null;

  function fill(select, options) {
    select.replaceChildren(...options.map(([value, text]) => { const o = textual("option", "", text); o.value = value; return o; }));
  }
  fill(subjectPick, [...(data.subjects.length > 1 ? [["", "All subjects"]] : []), ...data.subjects.map((name, i) => [String(i), name])]);
  fill(groupPick, data.groups.map((name, i) => [String(i), name]));

  function matching() {
    const words = fold(find.value).split(/\s+/).filter(Boolean);
    const rows = results.filter((row) => row.year === year && String(row.group) === groupPick.value
      && (subjectPick.value === "" || String(row.subject) === subjectPick.value)
      && words.every((word) => row.sought.includes(word)));
    return rows.sort(compare);
  }
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function compare(a, b) {
    const [x, y] = [a[order.by], b[order.by]];
    const names = collator.compare(a.name, b.name) || collator.compare(a.id, b.id);
    const last = names || a.subject - b.subject;
    if (order.by === "name") return order.direction * names || a.subject - b.subject;
    if (x === null || y === null) return (x === null) - (y === null) || last;  // what is withheld stands last
    return order.direction * (x - y) || last;
  }

  function bandCell(row) {
    const cell = make("td", { class: "band" });
    if (!row.hasBand) return cell;
    const range = make("span", { class: "range" });
    range.style.left = `${row.lo}%`;
    range.style.width = `${row.hi - row.lo}%`;
    const dot = make("span", { class: "dot" });
    dot.style.left = `${row.gp}%`;
    const track = make("span", { class: `track ${row.standing}`, "aria-hidden": "true" }, range, make("span", { class: "mid" }), dot);
    cell.append(make("span", { class: "bandline" }, track, textual("span", "", row.band)));
    return cell;
  }
  function resultCells(row) {
    const n = textual("td", row.n === null ? "num quiet n" : "num n", row.nShown);
    if (!row.shown) {
      const cell = textual("td", "withheld", row.reason);
      cell.colSpan = row.nShown ? 3 : 4;
      return row.nShown ? [n, cell] : [cell];
    }
    const level = textual("td", "num level", row.level === null ? "–" : String(row.level));
    if (row.levels) level.append(textual("small", "", row.levels));
    return [n, textual("td", "num big gp", row.gpShown), bandCell(row), level];
  }
  function schoolRow(row) {
    const open = textual("button", "open", row.name);
    open.type = "button";
    open.setAttribute("aria-expanded", "false");
    const head = make("th", { scope: "row" }, open);
    if (row.name !== row.id) head.append(textual("span", "id", row.id));
    const element = make("tr", {}, head, textual("td", "subject", data.subjects[row.subject]), ...resultCells(row));
    open.addEventListener("click", () => toggle(row, open, element));
    return element;
  }
  function toggle(row, open, element) {
    const same = opened && opened.open === open;
    if (opened) {
      opened.open.setAttribute("aria-expanded", "false");
      opened.detail.remove();
      opened = null;
    }
    choose(same ? "" : row.id);
    if (same) return;
    const detail = make("tr", { class: "detail" }, groupsCell(row));
    element.after(detail);
    open.setAttribute("aria-expanded", "true");
    opened = { open, detail };
  }
  function groupsCell(row) {
    const cell = make("td", { colspan: "6" });
    const own = results.filter((other) => other.id === row.id && other.subject === row.subject && other.year === row.year);
    const names = [["Students", ""], ["Number", "num"], ["Growth percentile", "num"], ["95% band", "band"], ["Level", "num"]];
    const head = make("tr", {}, ...names.map(([text, className]) => {
      const th = textual("th", className, text);
      th.scope = "col";
      return th;
    }));
    const lines = own.map((other) => {
      const th = textual("th", "", other.groupName);
      th.scope = "row";
      return make("tr", {}, th, ...resultCells(other));
    });
    cell.append(make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
    const total = own.find((other) => other.group === data.everyone);
    if (total && total.average !== null) {
      cell.append(textual("p", "", `The ${data.aggregate} of its students’ percentiles is ${total.average.toFixed(1)}. `
        + "That is not a growth percentile: in practice it lies between 30 and 70 for nearly every school."));
    }
    return cell;
  }
  function fillTable() {
    const rows = matching();
    const limit = all ? rows.length : FIRST_ROWS;
    opened = null;
    choose("");
    body.replaceChildren(...rows.slice(0, limit).map(schoolRow));
    const withheld = rows.filter((row) => !row.shown).length;
    byId("count").textContent = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "result" : "results"}`
      + (withheld ? `, ${withheld.toLocaleString("en")} of them withheld` : "");
    more.hidden = rows.length <= limit;
    more.textContent = `Show all ${rows.length.toLocaleString("en")} results`;
  }
  for (const th of table.tHead.rows[0].cells) {
    th.querySelector("button").addEventListener("click", () => {
      const by = th.dataset.sort;
      order.direction = order.by === by ? -order.direction : by === "name" || by === "subject" ? 1 : -1;
      order.by = by;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", order.direction > 0 ? "ascending" : "descending");
      fillTable();
    });
  }
  find.addEventListener("input", () => { all = false; fillTable(); });
  for (const select of [subjectPick, groupPick]) select.addEventListener("change", () => { all = false; fillTable(); });
  more.addEventListener("click", () => {
    const next = body.rows.length;
    all = true;
    fillTable();
    body.rows[next]?.querySelector("button")?.focus();
  });
  byId("find").form.addEventListener("submit", (event) => event.preventDefault());
  if (yearPick) yearPick.addEventListener("change", () => { year = Number(yearPick.value); redraw(); fillTable(); });

  // Print: everything that is folded away on the screen ----------------------------------------------------------
  addEventListener("beforeprint", () => {
    all = true;
    fillTable();
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  labelYears();
  fillTable();
  Promise.all([...document.querySelectorAll(".chart")].map(draw)).then(
    () => { root.dataset.state = "ready"; },
    (error) => { root.dataset.state = "failed"; byId("trouble").hidden = false; console.error(error); },
  );
})();
