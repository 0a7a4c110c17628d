// The index and the pairs: what a school's points are made of, and who works with whom.
const { index, pairs } = data;
const DOMAINS = [["academic", "Academic"], ["school_quality", "School quality"]];
const indexAt = new Map(index ? index.school.map((school, at) => [school, at]) : []);
const tenths = (value) => (value === null ? "–" : value.toFixed(1));
const hundredths = (value) => value.toFixed(2);

rowsOf.index = () => {
  const all = index.school.map((_, at) => at).filter((at) => index.index[at] !== null)
    .sort((a, b) => index.index[a] - index.index[b] || nameRank[index.school[a]] - nameRank[index.school[b]]);
  const every = Math.ceil(all.length / MOST_RANKS);
  const drawn = all.filter((at, i) => i % every === 0 || schools.id[index.school[at]] === chosen);
  return drawn.map((at, i) => ({ place: i, half: i > drawn.length / 2, school: index.school[at], id: schools.id[index.school[at]], name: schools.name[index.school[at]],
    academic: index.academic[at] ?? 0, index: index.index[at], indexShown: tenths(index.index[at]), academicShown: ofPossible(at, "academic"), qualityShown: ofPossible(at, "school_quality") }));
};
function ofPossible(at, domain) {
  return index[domain][at] === null ? "–" : `${tenths(index[domain][at])} of ${index[`${domain}_possible`][at]}`;
}
function indexSum(at) {
  const parts = DOMAINS.filter(([key]) => index[key][at] !== null).map(([key, name]) =>
    fill(words.index_part, { name: name.toLowerCase(), points: tenths(index[key][at]), possible: index[`${key}_possible`][at] }));
  return fill(words.index_sum, { index: tenths(index.index[at]), parts: parts.join(", "), with: index.with[at], of: index.of[at] });
}
// One cell for each group: its level, and the points it brings where they are divided.
function groupCells(groups) {
  return index.groups.map((_, group) => {
    const found = groups.find(([one]) => one === group);
    if (!found) return textual("td", "num quiet", "–");
    const [, level, ...more] = found;
    const cell = make("td", { class: "num" }, textual("strong", "", String(level)));
    if (typeof more[0] === "number") cell.append(textual("small", "", `${hundredths(more[0])} of ${hundredths(more[1])}`));
    if (typeof more.at(-1) === "string") cell.append(textual("small", "", more.at(-1)));
    return cell;
  });
}
function indexRow(i) {
  const { lines } = index;
  const th = textual("th", "", [index.metrics[lines.metric[i]], index.parts[lines.part[i]]].filter(Boolean).join(", "));
  th.scope = "row";
  return make("tr", {}, th, ...groupCells(lines.groups[i]), textual("td", "num", hundredths(lines.points[i])), textual("td", "num", hundredths(lines.possible[i])));
}
function indexPart(school) {
  if (!indexAt.has(school)) return [];
  const at = indexAt.get(school);
  const part = make("section", { class: "index" }, textual("h2", "", `School quality index, ${index.year}`));
  if (index.index[at] === null) part.append(para(fill(words.index_none, { reason: index.reason[at] })));
  else {
    const bar = make("span", { class: "points", "aria-hidden": "true" }, ...DOMAINS.map(([key]) => {
      const piece = make("span", { class: key });
      piece.style.width = `${index[key][at] ?? 0}%`;
      return piece;
    }));
    part.append(make("div", { class: "verdict" }, make("p", { class: "level" }, textual("strong", "", tenths(index.index[at])), textual("span", "", "of 100 points")),
      make("div", { class: "scale" }, bar, make("span", { class: "ticks", "aria-hidden": "true" }, ...[0, 25, 50, 75, 100].map((tick) => textual("span", "", String(tick))))),
      textual("p", "summary", indexSum(at))));
  }
  const own = [];
  index.lines.school.forEach((one, i) => { if (one === school) own.push(i); });
  if (!own.length) return [part];
  const body = DOMAINS.flatMap(([key, name], domain) => {
    const lines = own.filter((i) => index.lines.domain[i] === domain);
    if (!lines.length) return [];
    const th = textual("th", "", name);
    th.scope = "row";
    th.colSpan = index.groups.length + 1;
    const sum = make("tr", { class: "itself" }, th, textual("td", "num big", tenths(index[key][at])), textual("td", "num", tenths(index[`${key}_possible`][at])));
    return [sum, ...lines.map(indexRow)];
  });
  const head = headOf(["Metric"], ...index.groups.map((name) => [name, "num"]), ["Points", "num"], ["of", "num"]);
  part.append(make("div", { class: "tablebox" }, make("table", { class: "plain wide points-table" }, textual("caption", "", "What the points are made of: the level of each group, and the points that it brings"), head, make("tbody", {}, ...body))),
    textual("p", "quiet", words.index_divided));
  return [part];
}

// Partners
const likely = (at) => (pairs.probability[at] > 99 ? "more than 99%" : pairs.probability[at] < 1 ? "less than 1%" : `${pairs.probability[at]}%`);
function pairText(at) {
  const holes = { partner: "\0", partnerLevel: pairs.partnerLevel[at] ?? "–", level: pairs.level[at] ?? "–", verb: words[pairs.kept[at] ? "pair_kept" : "pair_new"],
    probability: likely(at), rank: pairs.rank[at], candidates: (pairs.candidates[at] ?? 0).toLocaleString("en"), needs: "", place: "" };
  const name = pairs.rank[at] === null ? "pair_stays" : pairs.rank[at] === 1 ? "pair_best" : pairs.kept[at] ? "pair_rank_kept" : "pair_rank";
  holes.place = fill(words[name], holes);
  if (pairs.needs[at]) holes.needs = fill(words.pair_needs, { met: pairs.met[at], needs: pairs.needs[at] });
  const [before, after] = fill(words.pair, holes).split("\0");
  return [before, linkTo(pairs.partner[at]), after];
}
function pairsPart(school) {
  const places = pairs.school.map((_, at) => at);
  const mine = places.filter((at) => pairs.school[at] === school), helped = places.filter((at) => pairs.partner[at] === school);
  const alone = pairs.alone.find(([one]) => one === school);
  if (!mine.length && !helped.length && !alone) return [];
  const part = make("section", { class: "pairs" }, textual("h2", "", "Partner school"));
  if (alone) part.append(para(fill(words.pair_alone, { reason: alone[1] })));
  for (const at of mine) part.append(make("p", {}, ...pairText(at)));
  if (mine.length) part.append(compared("This school and its partner", [[school, null], ...mine.map((at) => [pairs.partner[at], null])]));
  if (helped.length) part.append(para(words.pair_helps), make("ul", {}, ...helped.map((at) => make("li", {}, linkTo(pairs.school[at])))));
  return [part];
}

// Their tables on the overview
const FEW_ROWS = 20;
function ordered(element, lines, columns) {
  const state = { by: columns.findIndex(({ first }) => first), direction: -1, limit: FEW_ROWS };
  const more = byId(`${element.id}-more`);
  const show = () => {
    const { key } = columns[state.by];
    const sorted = lines.toSorted((a, b) => {
      const [x, y] = [key(a), key(b)];
      return x === null || y === null ? (x === null) - (y === null) : state.direction * (x - y);
    });
    element.tBodies[0].replaceChildren(...sorted.slice(0, state.limit).map((at) => make("tr", {}, ...columns.map(({ cell }) => cell(at)))));
    more.hidden = sorted.length <= state.limit;
    more.textContent = `Show ${Math.min(MOST_PRINTED, sorted.length - state.limit).toLocaleString("en")} more`;
    [...element.tHead.rows[0].cells].forEach((th, i) => (i === state.by ? th.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending") : th.removeAttribute("aria-sort")));
  };
  [...element.tHead.rows[0].cells].forEach((th, i) => th.querySelector("button").addEventListener("click", () => {
    state.direction = state.by === i ? -state.direction : columns[i].up ? 1 : -1;
    state.by = i;
    show();
  }));
  more.addEventListener("click", () => { state.limit += MOST_PRINTED; show(); });
  show();
}
const rowHead = (school) => make("th", { scope: "row" }, linkTo(school));
function fillIndex() {
  const number = (key, text) => ({ key: (at) => index[key][at], cell: (at) => textual("td", "num", text(at)) });
  ordered(byId("index-table"), index.school.map((_, at) => at), [
    { key: (at) => nameRank[index.school[at]], cell: (at) => rowHead(index.school[at]), up: true },
    { key: (at) => index.type[at], cell: (at) => textual("td", "", index.types[index.type[at]]), up: true },
    { key: (at) => index.index[at], cell: (at) => (index.index[at] === null ? textual("td", "withheld", index.reason[at]) : textual("td", "num big", tenths(index.index[at]))), first: true },
    ...DOMAINS.map(([key]) => number(key, (at) => ofPossible(at, key))),
    number("with", (at) => `${index.with[at]} of ${index.of[at]}`),
  ]);
}
function fillPairs() {
  ordered(byId("pairs-table"), pairs.school.map((_, at) => at), [
    { key: (at) => nameRank[pairs.school[at]], cell: (at) => rowHead(pairs.school[at]), up: true },
    { key: (at) => pairs.level[at], cell: (at) => textual("td", "num", String(pairs.level[at] ?? "–")), up: true },
    { key: (at) => nameRank[pairs.partner[at]], cell: (at) => make("td", {}, linkTo(pairs.partner[at])), up: true },
    { key: (at) => pairs.partnerLevel[at], cell: (at) => textual("td", "num", String(pairs.partnerLevel[at] ?? "–")) },
    { key: (at) => pairs.probability[at], cell: (at) => textual("td", "num", likely(at)), first: true },
  ]);
}
if (byId("index-table")) fillIndex();
if (byId("pairs-table")) fillPairs();
