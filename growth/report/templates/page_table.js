// The table of schools, the one of districts, and the search that opens a school.
const FIRST_ROWS = 120;
const MOST_PRINTED = 1000;
const table = byId("table");
const find = byId("find");
const subjectPick = byId("subject");
const groupPick = byId("group");
const bandPick = byId("band");
const more = byId("more");
const order = { by: "name", direction: 1 };
let limit = FIRST_ROWS;
let picked = null;  // schools dragged over in a chart, or of a district
let pickedFrom = "";

fillSelect(subjectPick, [...(data.subjects.length > 1 ? [["", "All subjects"]] : []), ...data.subjects.map((name, i) => [String(i), name])]);
fillSelect(groupPick, data.groups.map((name, i) => [String(i), name]));

const keep = {
  above: (row) => row.level !== null && bandOf(row.level) === "above average",
  average: (row) => row.level !== null && bandOf(row.level) === "average",
  below: (row) => row.level !== null && bandOf(row.level) === "below average",
  up: (row) => row.change > 0,
  down: (row) => row.change < 0,
};
function matching(group = Number(groupPick.value)) {
  const asked = new Uint8Array(schools.id.length);
  for (const school of matchingSchools(find.value)) asked[school] = !picked || picked.has(school) ? 1 : 0;
  const [subject, filter] = [subjectPick.value, keep[bandPick.value]];
  const found = [];
  for (let i = 0; i < EVERY; i += 1) {
    if (asked[rows.school[i]] && rows.group[i] === group && rows.year[i] === year && (subject === "" || rows.subject[i] === Number(subject))
      && (!filter || filter(result(i)))) found.push(i);
  }
  const key = keys[order.by];
  const last = (a, b) => nameRank[rows.school[a]] - nameRank[rows.school[b]] || rows.subject[a] - rows.subject[b];
  return found.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null) || last(a, b);  // what is withheld stands last
    return order.direction * (x - y) || last(a, b);
  });
}
const shownOf = (name) => (i) => (i < SHOWN ? rows[name][i] : null);
const keys = {
  name: (i) => nameRank[rows.school[i]], subject: (i) => rows.subject[i], n: (i) => rows.n[i],
  gp: shownOf("gp"), lo: shownOf("lo"), level: shownOf("level"), change: (i) => result(i).change,
};
const withChange = table.tHead.querySelector("[data-sort=change]") !== null;
function changeText(row) {
  return row.change === null ? "–" : row.change === 0 ? "0" : signed(row.change, 0);
}
function schoolRow(row) {
  const head = make("th", { scope: "row" }, linkTo(row.school));
  if (row.name !== row.id) head.append(textual("span", "id", row.id));
  const element = make("tr", {}, head, textual("td", "subject", data.subjects[row.subject]), ...resultCells(row));
  if (withChange) element.append(textual("td", "num change", row.shown ? changeText(row) : ""));
  return element;
}
// Of schools, what is withheld is listed; of groups it looks like what does not exist, and is left out.
function missing(found) {
  const group = Number(groupPick.value);
  if (group === data.everyone) {
    const withheld = found.filter((i) => i >= SHOWN).length;
    return withheld ? `, ${withheld.toLocaleString("en")} of them withheld` : "";
  }
  const absent = bandPick.value === "" ? matching(data.everyone).length - found.length : 0;
  return absent > 0 ? `; ${absent.toLocaleString("en")} more are withheld, or have no such students` : "";
}
function fillTable() {
  const found = matching();
  table.tBodies[0].replaceChildren(...found.slice(0, limit).map((i) => schoolRow(result(i))));
  byId("count").textContent = count(found.length, "result", "results") + missing(found);
  byId("unpick").hidden = !picked;
  if (picked) byId("unpick").textContent = `Only the ${count(picked.size, "school", "schools")} ${pickedFrom}: show all again`;
  const step = Math.min(found.length - limit, limit === FIRST_ROWS && found.length <= MOST_PRINTED ? found.length : 500);
  more.hidden = step <= 0;
  more.textContent = step >= found.length - limit ? `Show all ${found.length.toLocaleString("en")} results` : `Show ${step} more`;
  more.step = step;
  return found;
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
function refill() { limit = FIRST_ROWS; fillTable(); }
find.addEventListener("input", refill);
for (const select of [subjectPick, groupPick, bandPick]) select.addEventListener("change", refill);
find.form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const next = table.tBodies[0].rows.length;
  limit += more.step;
  fillTable();
  table.tBodies[0].rows[next]?.querySelector("a")?.focus();
});
byId("unpick").addEventListener("click", () => { picked = null; refill(); find.focus(); });
function dragged(element, box) {
  const inside = (value, range) => value >= Math.min(...range) && value <= Math.max(...range);
  if (!box?.ach || !box?.gp) { if (picked) { picked = null; refill(); } return; }
  pickedFrom = "chosen in the chart";
  picked = new Set(rowsFor(element).filter((row) => inside(row.ach, box.ach) && inside(row.gp, box.gp)).map((row) => row.school));
  subjectPick.value = data.subjects.length > 1 ? String(data.subjectCodes.indexOf(element.dataset.subject)) : subjectPick.value;
  refill();
}

// A table for a spreadsheet: texts that it would take for a formula are marked as text.
function csvText(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r\n]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
function csv() {
  const head = ["year", "school_id", "school", "subject", "students_group", "students", "growth_percentile", "band_low", "band_high", "level", "withheld"];
  const lines = matching().map((i) => {
    const row = result(i);
    return [data.years[row.year], row.id, row.name, data.subjects[row.subject], row.groupName, row.n, row.gp, row.lo, row.hi, row.level, row.reason];
  });
  return [head, ...lines].map((line) => line.map(csvText).join(",")).join("\r\n") + "\r\n";
}
byId("save").addEventListener("click", () => {
  const link = make("a", { download: "schools.csv" });
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

// Districts
const districtTable = byId("district-table");
function listDistrict(name) {
  pickedFrom = `of ${name}`;
  picked = new Set(byName.filter((school) => districtOf(school) === name));
  find.value = "";
  refill();
  location.hash = "#schools";
  byId("unpick").focus();
}
function fillDistricts() {
  if (!districtTable) return;
  const { districts } = data;
  const withOwn = districtTable.dataset.own === "true";
  const lines = districts.name.map((_, at) => at).filter((at) => districts.year[at] === year)
    .sort((a, b) => collator.compare(districts.name[a], districts.name[b]) || districts.subject[a] - districts.subject[b]);
  const cells = (at) => {
    const numbers = ["n", "schools", "above", "average", "below"].map((name) => textual("td", "num", districts[name][at].toLocaleString("en")));
    if (!withOwn) return numbers;
    const [gp, lo, hi] = ["gp", "lo", "hi"].map((name) => districts[name][at]);
    const band = make("td", { class: "band" });
    if (lo !== null) band.append(make("span", { class: "bandline" }, bandLine({ gp, lo, hi, standing: standing(lo, hi) }), textual("span", "", `${floor(lo)}–${floor(hi)}`)));
    return [...numbers, textual("td", "num big", gp === null ? "–" : floor(gp)), band];
  };
  const line = (at) => {
    const open = textual("button", "link", districts.name[at]);
    open.type = "button";
    open.title = "List its schools";
    open.addEventListener("click", () => listDistrict(districts.name[at]));
    return make("tr", {}, make("th", { scope: "row" }, open), textual("td", "", data.subjects[districts.subject[at]]), ...cells(at));
  };
  districtTable.tBodies[0].replaceChildren(...lines.slice(0, MOST_PRINTED).map(line));
  byId("district-rest").hidden = lines.length <= MOST_PRINTED;
}

// The search that opens a school
const finder = byId("finder");
const found = byId("found");
const FEW = 12;
function suggest() {
  const text = finder.value.trim();
  const matches = text ? matchingSchools(text) : [];
  found.replaceChildren(...matches.slice(0, FEW).map((school) => make("li", {}, linkTo(school),
    textual("span", "id", [schools.name[school] === schools.id[school] ? "" : schools.id[school], districtOf(school)].filter(Boolean).join(" · ")))));
  found.hidden = !matches.length;
  byId("found-count").textContent = !text ? "" : matches.length > FEW ? `${matches.length.toLocaleString("en")} schools, the first ${FEW} are listed`
    : count(matches.length, "school", "schools");
}
finder.addEventListener("input", suggest);
finder.addEventListener("keydown", (event) => {
  const first = found.querySelector("a");
  if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
});
found.addEventListener("keydown", (event) => {
  const links = [...found.querySelectorAll("a")], at = links.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
  if (next !== undefined) { event.preventDefault(); (links[next] ?? (next < 0 ? finder : links[at])).focus(); }
  if (event.key === "Escape") finder.focus();
});
finder.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const first = found.querySelector("a");
  if (first) location.hash = first.getAttribute("href");
});
