// Tables that are wider than the screen can be scrolled by keyboard.
function reachable() {
  for (const box of document.querySelectorAll(".tablebox")) {
    const wide = box.scrollWidth > box.clientWidth;
    const given = { tabindex: "0", role: "region", "aria-label": box.querySelector("caption")?.textContent.trim() ?? "Table" };
    for (const [name, value] of Object.entries(given)) if (wide) box.setAttribute(name, value); else box.removeAttribute(name);
  }
}
addEventListener("resize", reachable);

// Which part of the page shows: the address says so.
const TITLE = document.title;
function route(moveFocus) {
  const match = /^#school=(.*)$/.exec(location.hash);
  let id = null;
  if (match) { try { id = decodeURIComponent(match[1]); } catch { id = match[1]; } }
  const before = article.hidden;
  article.hidden = id === null;
  overview.hidden = id !== null;
  if (id !== null) {
    showSchool(id);
    finder.value = "";
    suggest();
    reachable();
    document.title = `${byId("school-name").textContent} · ${TITLE}`;
    if (moveFocus) { scrollTo({ top: 0, behavior: "instant" }); byId("school-name").focus({ preventScroll: true }); }
    return;
  }
  document.title = TITLE;
  reachable();
  setTimeout(drawRest, 300);
  if (!before && location.hash.length > 1) byId(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
}
addEventListener("hashchange", () => route(true));

const yearPick = byId("year");
if (yearPick) yearPick.addEventListener("change", () => {
  year = Number(yearPick.value);
  picked = null;
  redraw();
  refill();
  fillDistricts();
  if (!article.hidden) showSchool(schools.id[schoolOf.get(chosen)] ?? "");
});

// Light and dark: as the system has it, unless the reader says otherwise. Storage may be forbidden; then it is forgotten.
const theme = byId("theme");
function remember(value) { try { localStorage.setItem("growth-theme", value); } catch { /* a private window */ } }
function remembered() { try { return localStorage.getItem("growth-theme") ?? "auto"; } catch { return "auto"; } }
function dress(value) {
  theme.value = ["light", "dark"].includes(value) ? value : "auto";
  if (theme.value === "auto") delete root.dataset.theme; else root.dataset.theme = theme.value;
  recolor();
}
theme.addEventListener("change", () => { remember(theme.value); dress(theme.value); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);

// Print: what is folded away on the screen, as far as paper makes sense.
addEventListener("beforeprint", () => {
  limit = MOST_PRINTED;
  fillTable();
  for (const details of document.querySelectorAll("details")) details.open = true;
});

dress(remembered());
labelYears();
fillTable();
fillDistricts();
route(false);
drawLater(overview.querySelectorAll(".chart"));
setTimeout(drawRest, 300);
root.dataset.state = "ready";
