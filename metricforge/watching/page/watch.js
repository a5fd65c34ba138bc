"use strict";
// Asks the server how the run is, and shows what has changed.
const EVERY = 2000;
let tag = "";
let paused = false;
let failures = 0;

function showFacts(state) {
  document.title = `${state.name} · MetricForge`;
  byId("name").textContent = state.name;
  const words = state.words.startsWith(`${state.name} `) ? state.words.slice(state.name.length + 1) : state.words;
  if (byId("words").textContent !== words) byId("words").textContent = words;
  byId("words").dataset.status = state.status;
  byId("facts").replaceChildren(...state.facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function showSayings(sayings) {
  const list = byId("sayings");
  byId("doctor").hidden = !sayings.length;
  if (list.children.length > sayings.length) list.replaceChildren();
  for (const one of sayings.slice(list.children.length)) {
    list.append(make("li", { "data-diagnosis": one.kind }, make("span", { class: "when" }, `epoch ${one.epoch}`), ` ${one.text}`));
  }
}

function showScores(state) {
  const names = Object.keys(state.scores);
  byId("results").hidden = !names.length;
  const bases = Object.entries(state.baselines);
  const head = ["Score", ...bases.map(([name]) => name), "Trained", "What it is"];
  const percent = (value) => (value === undefined ? "" : (100 * value).toFixed(1));
  const number = (text, weight) => make("td", { class: `number${weight}` }, text);
  byId("scores").replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((text, n) => make("th", { scope: "col", class: n && n < head.length - 1 ? "number" : null }, text)))),
    make("tbody", {}, ...names.map((name) => make("tr", { "data-score": name }, make("th", { scope: "row" }, name),
      ...bases.map(([, scores]) => number(percent(scores[name]), "")), number(percent(state.scores[name]), " value"), make("td", { class: "meaning" }, state.meanings[name])))),
  );
}

function latestOf(chart) {
  const said = (value) => (value === null ? "none" : chart.percent ? `${(100 * value).toFixed(1)} %` : figure(value));
  return chart.lines.filter((line) => line.style !== "faint" && line.y.length)
    .map((line) => `${line.name} ${said(line.y.at(-1))}`).join(", ");
}

function showCharts(charts) {
  const place = byId("charts");
  byId("none").hidden = charts.length > 0;
  payload.charts = Object.fromEntries(charts.map((chart) => [chart.key, chart]));
  for (const old of [...place.children]) {
    if (!payload.charts[old.dataset.key]) { drawn.delete(old.querySelector(".plot")); old.remove(); }
  }
  for (const chart of charts) {
    let shown = [...place.children].find((one) => one.dataset.key === chart.key);
    if (!shown) {
      const plot = make("div", { class: "plot", "data-chart": chart.key, role: "img", "aria-labelledby": `chart-${chart.key} latest-${chart.key}` });
      shown = make("figure", { class: "chart", "data-key": chart.key },
        make("figcaption", { id: `chart-${chart.key}` }, chart.title), plot,
        make("p", { class: "note latest", id: `latest-${chart.key}` }), chart.note ? make("p", { class: "note" }, chart.note) : null);
      place.append(shown);
      arriving.observe(plot);
    } else if (drawn.has(shown.querySelector(".plot"))) draw(shown.querySelector(".plot"));
    shown.querySelector(".latest").textContent = `Latest: ${latestOf(chart)}`;
  }
}

async function look() {
  try {
    const answer = await fetch("/state", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      const state = await answer.json();
      showFacts(state);
      showSayings(state.diagnoses);
      showScores(state);
      showCharts(state.charts);
    } else if (answer.status !== 304) throw new Error(String(answer.status));
    failures = 0;
  } catch {
    failures += 1;
  }
  byId("lost").hidden = failures < 2;
}

async function follow() {
  if (!paused && !document.hidden) await look();
  setTimeout(follow, EVERY);
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").textContent = paused ? "Go on" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(paused));
});
follow();
