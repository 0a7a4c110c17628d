// Results: one copy, in columns. Text from the data only ever becomes text (textContent), never markup.
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { rows, whole, schools, words } = data;
const SHOWN = rows.gp.length;  // results that are not withheld come first
const EVERY = rows.school.length;
const several = data.years.length > 1;
let year = data.years.length - 1;

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const fill = (text, holes) => text.replace(/\{(\w+)\}/g, (_, name) => holes[name]);
const count = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const floor = (value) => String(Math.floor(value));
const tenth = (value) => Math.min(Math.floor(value / 10), 9) + 1;
const bandOf = (level) => (level >= data.bands[1] ? "above average" : level >= data.bands[0] ? "average" : "below average");
const standing = (lo, hi) => (lo > 50 ? "above" : hi < 50 ? "below" : "average");

// Schools: what a search looks at, their order by name, and the results of each.
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const districtOf = (school) => (schools.district[school] === null ? "" : schools.districts[schools.district[school]]);
const sought = schools.id.map((id, at) => fold(`${schools.name[at]} ${id} ${districtOf(at)}`));
const byName = schools.id.map((_, at) => at).sort((a, b) =>
  collator.compare(schools.name[a], schools.name[b]) || collator.compare(schools.id[a], schools.id[b]));
const nameRank = new Int32Array(schools.id.length);
byName.forEach((school, at) => { nameRank[school] = at; });
const schoolOf = new Map(schools.id.map((id, at) => [id, at]));

const firstOf = new Int32Array(schools.id.length + 1);
for (const school of rows.school) firstOf[school + 1] += 1;
for (let at = 0; at < schools.id.length; at += 1) firstOf[at + 1] += firstOf[at];
const own = new Int32Array(EVERY);
{
  const next = firstOf.slice();
  for (let i = 0; i < EVERY; i += 1) { own[next[rows.school[i]]] = i; next[rows.school[i]] += 1; }
}
const resultsOf = (school) => Array.from(own.subarray(firstOf[school], firstOf[school + 1]));

const wholeOf = new Int32Array(EVERY).fill(-1);
whole.row.forEach((row, at) => { wholeOf[row] = at; });

// A result as an object; made when something shows it.
const made = new Map();
function result(i) {
  if (!made.has(i)) made.set(i, makeResult(i));
  return made.get(i);
}
function makeResult(i) {
  const school = rows.school[i], group = rows.group[i], n = rows.n[i], shown = i < SHOWN;
  const row = {
    i, school, group, n, shown, year: rows.year[i], subject: rows.subject[i],
    id: schools.id[school], name: schools.name[school],
    gp: null, lo: null, hi: null, level: null, ach: null, last: null, change: null, hasBand: false,
    groupName: data.groups[group], nShown: n === null ? (shown ? data.atLeast : "") : n.toLocaleString("en"), reason: "",
  };
  if (!shown) {
    row.reason = (group === data.everyone ? data.reasons : data.groupReasons)[rows.reason[i - SHOWN]];
    return row;
  }
  Object.assign(row, { gp: rows.gp[i], lo: rows.lo[i], hi: rows.hi[i], level: rows.level[i] });
  row.gpShown = floor(row.gp);
  row.hasBand = row.lo !== null && row.hi !== null;
  if (rows.detail[i] !== null) row.groupName = data.details[rows.detail[i]];
  if (row.hasBand) {
    row.band = `${floor(row.lo)}–${floor(row.hi)}`;
    row.standing = standing(row.lo, row.hi);
    const [low, high] = [tenth(row.lo), tenth(row.hi)];
    row.levels = data.tens ? (low === high ? `(${low})` : `(${low}–${high})`) : "";
  }
  const at = wholeOf[i];
  if (at >= 0) {
    for (const name of ["ach", "effect", "result", "p", "bottom", "points", "gain", "students", "last", "told"]) row[name] = whole[name][at];
    if (row.ach !== null) row.achShown = signed(row.ach, 2);
    if (row.last !== null && row.level !== null) row.change = row.level - row.last;
  }
  return row;
}
function everyone(subject) {
  const found = [];
  for (const i of whole.row) if (rows.year[i] === year && rows.subject[i] === subject) found.push(result(i));
  return found;
}
// Places of schools whose name, number or district has all the words.
function matchingSchools(text) {
  const parts = fold(text).split(/\s+/).filter(Boolean);
  return byName.filter((school) => parts.every((part) => sought[school].includes(part)));
}

// Elements
function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function textual(tag, className, text) {
  const element = make(tag, className ? { class: className } : {});
  element.textContent = text;
  return element;
}
const address = (school) => `#school=${encodeURIComponent(schools.id[school])}`;
function linkTo(school) {
  const link = textual("a", "to-school", schools.name[school]);
  link.setAttribute("href", address(school));
  return link;
}
function fillSelect(select, options) {
  select.replaceChildren(...options.map(([value, text]) => { const o = textual("option", "", text); o.value = value; return o; }));
}
function bandLine(row, className = "track") {
  const range = make("span", { class: "range" });
  range.style.left = `${row.lo}%`;
  range.style.width = `${row.hi - row.lo}%`;
  const dot = make("span", { class: "dot" });
  dot.style.left = `${row.gp}%`;
  return make("span", { class: `${className} ${row.standing}`, "aria-hidden": "true" }, range, make("span", { class: "mid" }), dot);
}
function bandCell(row) {
  const cell = make("td", { class: "band" });
  if (row.hasBand) cell.append(make("span", { class: "bandline" }, bandLine(row), textual("span", "", row.band)));
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
function headOf(...names) {
  return make("thead", {}, make("tr", {}, ...names.map(([text, className = ""]) => {
    const th = textual("th", className, text);
    th.scope = "col";
    return th;
  })));
}
