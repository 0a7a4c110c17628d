// The page of one school.
const article = byId("school");
const overview = byId("overview");
const para = (text) => textual("p", "", text);

const measured = (value) => (data.signed ? signed(value, 1) : value.toFixed(1));
function holesOf(row) {
  const [average, above] = data.bands;
  const band = bandOf(row.level);
  const ends = band === "above average" ? [above, 10] : band === "average" ? [average, above - 1] : [1, average - 1];
  return {
    n: row.nShown, effect: measured(row.effect), result: measured(row.result), gp: row.gpShown, level: row.level,
    from: 10 * (row.level - 1), to: row.level === 10 ? 100 : 10 * row.level - 1,
    band, band_from: ends[0], band_to: ends[1], lo: row.hasBand ? floor(row.lo) : "", hi: row.hasBand ? floor(row.hi) : "",
  };
}
function steps(row) {
  const holes = holesOf(row);
  const names = ["students", "effect", "shrunk", "rank", "level"].filter((name) => words[`step_${name}`]);
  const titles = { students: "Students", effect: words.title_effect, shrunk: "Chance taken into account", rank: "Place among schools", level: "Level" };
  const numbers = { students: row.nShown, effect: holes.effect, shrunk: holes.result, rank: row.gpShown, level: row.level };
  return make("ol", { class: "steps" }, ...names.map((name) => make("li", {}, textual("span", "number", String(numbers[name])),
    make("div", {}, textual("strong", "", titles[name]), para(fill(words[`step_${name}`], holes))))));
}
function nextSentence(row, step) {
  const [points, gain, students] = ["points", "gain", "students"].map((name) => row[name]?.[step - 1] ?? null);
  if (points === null) return null;
  let text = fill(words.next, { level: row.level + step, points: points.toFixed(1) });
  if (gain !== null) {
    text += fill(words.next_effect, { effect: gain.toFixed(1) });
    if (students !== null && row.n !== null) {
      text += fill(students <= row.n ? words.next_students : words.next_all, { students: students.toLocaleString("en"), n: row.nShown });
    }
  }
  return `${text}.`;
}
function nextLevels(row) {
  const lines = [1, 2, 3].map((step) => nextSentence(row, step)).filter(Boolean);
  if (!lines.length) return row.level === 10 ? [para(words.highest)] : [];
  return [make("ul", { class: "next" }, ...lines.map((line) => textual("li", "", line))), textual("p", "quiet", words.no_forecast)];
}
function certainty(row) {
  if (!row.hasBand) return [para(words.no_band)];
  const lines = [`${fill(words.band, holesOf(row))} ${words[row.standing]}`];
  if (row.p && row.level !== null) {
    const [from, to] = [Math.max(row.level - 1, 1), Math.min(row.level + 1, 10)];
    const near = row.p.slice(from - 1, to).reduce((sum, p) => sum + p, 0);
    lines.push(fill(words.sure, { level: row.level, p: row.p[row.level - 1], from, to, near: Math.min(near, 100) }));
  }
  if (row.bottom) lines.push(fill(words.bottom, row));
  if (row.told) {
    const [higher, same, lower] = row.told.map((n) => n.toLocaleString("en"));
    lines.push(fill(words.told, { higher, same, lower, others: row.told.reduce((a, b) => a + b, 0).toLocaleString("en") }));
  }
  return lines.map(para);
}
function chart(kind, values, label) {
  const element = make("div", { class: `chart ${kind}`, role: "img", "data-chart": kind, "aria-label": label });
  element.rows = values;
  return element;
}
function chances(row) {
  if (!row.p) return [];
  const values = row.p.map((p, at) => ({ level: at + 1, p, shown: p ? `${p}%` : "", own: at + 1 === row.level }));
  const likely = values.filter(({ p }) => p >= 5).map(({ level, p }) => `level ${level} ${p}%`).join(", ");
  return [make("figure", {}, textual("figcaption", "", "Probability of each level"), chart("chances", values, `Probability of each level: ${likely}.`))];
}
function overTime(row, all) {
  const found = [];
  if (row.change !== null) {
    const holes = { last: row.last, level: row.level, before: data.years[row.year] - 1, year: data.years[row.year], change: count(Math.abs(row.change), "level", "levels") };
    const name = row.change > 0 ? "up" : row.change < 0 ? "down" : "same";
    found.push(para(fill(words[name], holes) + (Math.abs(row.change) === 1 ? ` ${words.small_change}` : "")));
  }
  const { history } = data;
  const at = history.school.findIndex((school, i) => school === row.school && history.subject[i] === row.subject);
  if (at >= 0 && row.year === data.years.length - 1) {
    if (history.high[at] > 1) found.push(para(fill(words.high_years, { years: `${history.high[at]} years in a row` })));
    if (history.trend[at] !== null) {
      const [trend, low, high] = ["trend", "trend_low", "trend_high"].map((name) => signed(history[name][at], 1));
      found.push(para(fill(words.trend, { trend, low, high })));
    }
  }
  const years = all.filter((other) => other.hasBand && other.subject === row.subject).map((other) => ({ ...other, year: data.years[other.year] }));
  if (years.length > 1) {
    const told = years.map((other) => `${other.year}: ${other.gpShown}, band ${other.band}`).join("; ");
    found.push(make("figure", {}, textual("figcaption", "", "Growth percentile by year"), chart("years", years, `Growth percentile by year. ${told}.`)));
  }
  return found;
}
function groupsTable(lines) {
  const head = headOf(["Students"], ["Number", "num"], ["Growth percentile", "num"], ["95% band", "band"], ["Level", "num"]);
  const body = lines.map((other) => {
    const th = textual("th", "", other.groupName);
    th.scope = "row";
    return make("tr", {}, th, ...resultCells(other));
  });
  const caption = textual("caption", "", `Results by group of students, ${data.subjects[lines[0].subject]}, ${data.years[lines[0].year]}`);
  const table = make("div", { class: "tablebox" }, make("table", { class: "results" }, caption, head, make("tbody", {}, ...body)));
  return lines.length < data.groups.length ? [table, textual("p", "quiet", words.groups_missing)] : [table];
}
function subjectPart(row, all) {
  const name = data.subjects[row.subject];
  const part = make("section", { class: "subject", "data-subject": data.subjectCodes[row.subject] });
  part.append(textual("h2", "", several ? `${name}, ${data.years[row.year]}` : name));
  if (!row.shown) {
    part.append(textual("p", "withheld", fill(words.withheld, { reason: row.reason })));
    return part;
  }
  const level = row.level === null ? "No level" : `Level ${row.level}`;
  const verdict = make("div", { class: "verdict" }, make("p", { class: "level" }, textual("strong", "", level),
    textual("span", "", row.level === null ? "" : bandOf(row.level))));
  if (row.hasBand) {
    verdict.append(make("div", { class: `scale ${row.standing}`, role: "img", "aria-label": `Growth percentile ${row.gpShown}, 95% band ${row.band}, on a scale from 0 to 100` },
      bandLine(row), make("span", { class: "ticks", "aria-hidden": "true" }, ...[0, 25, 50, 75, 100].map((tick) => textual("span", "", String(tick))))));
  }
  verdict.append(textual("p", "summary", fill(words[row.hasBand ? `summary_${row.standing}` : "summary"], holesOf(row))));
  part.append(verdict);
  const groups = all.filter((other) => other.subject === row.subject && other.year === row.year);
  const sections = [
    [row.level === null ? "How the result comes about" : `Why level ${row.level}`, row.level === null ? [] : [steps(row)]],
    ["How sure it is", [make("div", { class: "two" }, make("div", {}, ...certainty(row)), ...chances(row))]],
    ["What the next levels ask for", nextLevels(row)],
    ["Over the years", overTime(row, all.filter((other) => other.group === data.everyone))],
    ["Groups of students", groups.length > 1 ? groupsTable(groups) : [para(words.groups_none)]],
  ];
  for (const [title, content] of sections) if (content.length) part.append(textual("h3", "", title), ...content);
  return part;
}
function shareOf(school, flag) {
  for (const subject of data.subjects.keys()) {
    const mine = resultsOf(school).filter((i) => rows.year[i] === data.years.length - 1 && rows.subject[i] === subject);
    const n = (group) => { const i = mine.find((one) => rows.group[one] === group); return i === undefined ? null : rows.n[i]; };
    if (n(flag) !== null && n(data.everyone) !== null) return `${Math.round(100 * n(flag) / n(data.everyone))}%`;
  }
  return "–";
}
// Schools side by side: their intake, and their growth in the latest year.
function compared(caption, lines) {
  const latest = (one, subject) => resultsOf(one).map(result).find((row) => row.group === data.everyone && row.subject === subject && row.year === data.years.length - 1);
  const [[school]] = lines;
  const line = ([other, verdicts]) => {
    const th = make("th", { scope: "row" }, other === school ? textual("strong", "", schools.name[other]) : linkTo(other));
    const cells = data.subjects.map((_, subject) => {
      const row = latest(other, subject);
      if (!row?.shown) return textual("td", "quiet", row ? "withheld" : "–");
      const cell = make("td", {}, textual("strong", "", row.gpShown), textual("span", "quiet", row.level === null ? "" : ` level ${row.level}`));
      if (verdicts?.[subject]?.trim()) cell.append(textual("span", "quiet verdict-words", words[verdicts[subject]]));
      return cell;
    });
    const prior = schools.prior[other];
    return make("tr", other === school ? { class: "itself" } : {}, th, textual("td", "num", prior === null ? "–" : signed(prior, 2)),
      ...data.flags.map((flag) => textual("td", "num", shareOf(other, flag))), ...cells);
  };
  const head = headOf(["School"], ["Earlier scores (SD)", "num"], ...data.flags.map((flag) => [data.groups[flag], "num"]), ...data.subjects.map((name) => [`Growth, ${name}`]));
  return make("div", { class: "tablebox" }, make("table", { class: "plain wide" }, textual("caption", "", caption), head, make("tbody", {}, ...lines.map(line))));
}
function similarPart(school) {
  const part = make("section", { class: "similar" }, textual("h2", "", `Similar schools${several ? `, ${data.years.at(-1)}` : ""}`));
  const others = data.similar[school];
  if (!others) { part.append(para(words.similar_none)); return part; }
  part.append(para(words.similar));
  part.append(compared("This school and the schools most like it", [[school, null], ...others]));
  return part;
}
function showSchool(id) {
  for (const element of [...views]) if (article.contains(element)) { element.embedded.view.finalize(); views.delete(element); }
  const school = schoolOf.get(id);
  const name = textual("h1", "", school === undefined ? "School not found" : schools.name[school]);
  name.id = "school-name";
  name.tabIndex = -1;
  const back = textual("a", "", "← All schools");
  back.setAttribute("href", "#schools");
  article.replaceChildren(make("p", { class: "back" }, back), name);
  if (school === undefined) { article.append(para(words.unknown)); return; }
  const all = resultsOf(school).map(result);
  const facts = [schools.id[school] === schools.name[school] ? "" : `School ${schools.id[school]}`, districtOf(school) && `District ${districtOf(school)}`,
    schools.span[school] === null ? "" : `Grades ${schools.spans[schools.span[school]]}`];
  article.append(textual("p", "facts", facts.filter(Boolean).join(" · ")));
  const current = all.filter((row) => row.year === year && row.group === data.everyone).sort((a, b) => a.subject - b.subject);
  if (!current.length) article.append(textual("p", "withheld", `No students with a result in ${data.years[year]}.`));
  article.append(...current.map((row) => subjectPart(row, all)), ...indexPart(school), ...pairsPart(school));
  if (current.length) article.append(similarPart(school));
  const notes = make("p", { class: "onward" });
  for (const [to, text] of [["#read", "How to read these numbers"], ["#limits", "What they cannot say"], ["#method", "How they were computed"], ["#ranks", "Find this school in the charts"]]) {
    const link = textual("a", "", text);
    link.setAttribute("href", to);
    notes.append(link);
  }
  article.append(notes);
  choose(id);
  drawLater(article.querySelectorAll(".chart"));
}
