"use strict";
// The map of the embeddings: points on the GPU, pictures on hover, a lasso, and searching by a click.
function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function column(packed) {
  const unit = (packed.high - packed.low) / 65535;
  return Float32Array.from(decode(packed.steps, Uint16Array), (step) => packed.low + unit * step);
}

/** Tiles to open a search with; every place that shows pictures has them. */
function searchable(element) {
  const id = Number(element.dataset.id);
  const frame = element.querySelector(".frame");
  if (!window.searchFrom || !window.searchFrom.has(id) || frame.tabIndex === 0) return element;
  Object.assign(frame, { tabIndex: 0, title: "Search with this image" });
  frame.setAttribute("role", "button");
  const search = () => window.searchFrom.search(id);
  frame.addEventListener("click", search);
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); search(); }
  });
  return element;
}

function startMap(map) {
  const ids = decode(map.ids, Uint32Array);
  const labels = decode(map.labels, Uint32Array);
  const outcome = decode(map.outcome, Uint8Array);
  const found = decode(map.found, Uint32Array);
  const matches = decode(map.match, Uint8Array);
  const [scores, distances, confidence] = [map.scores, map.distances, map.confidence].map(column);
  const layouts = Object.fromEntries(Object.entries(map.layouts).map(([name, packed]) => {
    const at = decode(packed, Uint16Array);
    return [name, { x: Float32Array.from(ids, (_, n) => at[2 * n]), y: Float32Array.from(ids, (_, n) => at[2 * n + 1]) }];
  }));
  const indexOf = new Map(Array.from(ids, (id, n) => [id, n]));
  const [plot, tip, count] = [byId("map-plot"), byId("map-tip"), byId("map-count")];
  const [layout, colourBy, classFilter, drag] = [byId("layout"), byId("colour-by"), byId("map-class"), byId("drag")];
  const names = [...new Set(labels)].sort((a, b) => a - b);
  const labelOf = new Map(names.map((label) => [className(label).toLowerCase(), label]));
  byId("map-classes").append(...names.slice(0, 5000).map((label) => make("option", { value: className(label) })));
  let searched = null;
  let selection = null;

  const hues = Array.from({ length: 24 }, (_, n) => `hsl(${(n * 137.5) % 360}deg 65% ${isDark() ? 65 : 45}%)`);
  const steps = (colours) => colours.flatMap((one, n) => [[n / colours.length, one], [(n + 1) / colours.length, one]]);
  const splitOf = (n) => (n < map.queries ? 0 : n < ids.length - map.training ? 1 : 2);
  function painting() {
    if (colourBy.value === "label") return { color: Float32Array.from(labels, (label) => label % 24), colours: hues };
    if (colourBy.value === "split") {
      const names = [map.training ? "test" : "query", map.training ? "test, gallery alone" : "gallery alone", "training classes"];
      return { color: Float32Array.from(ids, (_, n) => splitOf(n)), colours: [series(0), series(1), series(2)], legend: names };
    }
    return { color: Float32Array.from(outcome), colours: [colour("--miss"), colour("--match"), colour("--quiet")], legend: ["nearest is of another class", "nearest is of its class", "no query with a match"] };
  }
  const kind = document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter";
  if (kind === "scatter") count.textContent = "This browser has no WebGL, so large maps are slow.";

  function traces() {
    const { x, y } = layouts[layout.value];
    const paint = painting();
    const size = ids.length > 30000 ? 3 : ids.length > 5000 ? 4.5 : ids.length > 800 ? 6 : 9;
    const main = {
      type: kind, mode: "markers", x, y, hoverinfo: "none", selectedpoints: selection, showlegend: false,
      marker: { size, color: paint.color, colorscale: steps(paint.colours), cmin: -0.5, cmax: paint.colours.length - 0.5, opacity: 0.8 },
      selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.06 } },
    };
    const ring = searched === null ? [] : [searched, ...neighboursOf(searched).map((near) => indexOf.get(near.id)).filter((n) => n !== undefined)];
    const rings = {
      type: kind, mode: "markers", x: ring.map((n) => x[n]), y: ring.map((n) => y[n]), hoverinfo: "skip", showlegend: false,
      marker: { size: ring.map((_, n) => (n ? 13 : 20)), color: "rgba(0,0,0,0)", line: { width: 2.5, color: ring.map((n) => (n === searched ? colour("--accent") : colour("--text"))) } },
    };
    const present = (paint.legend ?? []).map((text, n) => [text, paint.colours[n], n]).filter(([, , n]) => paint.color.includes(n));
    byId("map-legend").replaceChildren(...present.map(([text, shade]) => make("li", { style: `--run: ${shade}` }, text)));
    return [main, rings];
  }

  const bare = { showgrid: false, zeroline: false, showticklabels: false, showline: false };
  const view = { xaxis: { ...bare }, yaxis: { ...bare } };
  function redraw() {
    const shape = {
      ...view, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 0, r: 0, t: 0, b: 0 }, hovermode: "closest", hoverdistance: 12,
      dragmode: drag.value, uirevision: layout.value, selectionrevision: 1, newselection: { line: { color: colour("--accent"), width: 2, dash: "solid" } },
    };
    return Plotly.react(plot, traces(), shape, { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: true, plotGlPixelRatio: Math.min(devicePixelRatio, 2), doubleClick: "reset+autosize" });
  }

  function neighboursOf(index) {
    if (index >= map.queries) return [];
    return Array.from({ length: map.neighbours }, (_, rank) => {
      const at = index * map.neighbours + rank;
      const near = indexOf.get(found[at]);
      return { id: found[at], label: near === undefined ? -1 : labels[near], match: matches[at], score: scores[at], distance: distances[at] };
    });
  }

  function search(id) {
    searched = indexOf.get(id);
    const near = neighboursOf(searched);
    const place = byId("map-found");
    const result = {
      ids: near.map((one) => one.id), labels: near.map((one) => one.label), match: near.map((one) => one.match),
      scores: near.map((one) => one.score), distances: near.map((one) => one.distance), confidence: confidence[searched],
    };
    const row = near.length ? resultRow({ id, label: labels[searched], runs: [result] }, payload.runs) : make("li", { class: "row" }, tile(id, labels[searched], "plain"), make("p", {}, splitOf(searched) === 2 ? "This image is of a training class: nothing is searched with it." : "This image is only in the gallery: nothing is searched with it."));
    row.querySelectorAll(".tile").forEach(searchable);
    place.querySelector("ol").replaceChildren(row);
    place.hidden = false;
    redraw();
  }
  window.searchFrom = { has: (id) => indexOf.has(id), search: (id) => { search(id); byId("map").scrollIntoView(); } };

  function select(indices, words) {
    selection = indices;
    const shown = indices === null ? [] : [...indices].slice(0, 48);
    byId("map-selected").replaceChildren(...shown.map((n) => make("li", {}, searchable(tile(ids[n], labels[n], ["miss", "match", "plain"][outcome[n]])))));
    byId("map-selection").hidden = !shown.length;
    count.textContent = indices === null ? "" : `${indices.length.toLocaleString("en")} ${words}${indices.length > shown.length ? `; the first ${shown.length} are below` : ""}`;
  }

  function hover(event) {
    const point = event.points.find((one) => one.curveNumber === 0);
    if (!point) return;
    const n = point.pointNumber;
    const says = ["its nearest is of another class", "its nearest is of its class", ["no match to find", "in the gallery alone", "of a training class"][splitOf(n)]][outcome[n]];
    tip.replaceChildren(...[picture(ids[n], "")].filter(Boolean), make("strong", {}, className(labels[n])), make("span", {}, says));
    tip.hidden = false;
    const box = plot.getBoundingClientRect();
    const left = event.event.clientX - box.left, top = event.event.clientY - box.top;
    tip.style.left = `${Math.min(left + 14, Math.max(0, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.min(top + 14, Math.max(0, box.height - tip.offsetHeight - 4))}px`;
  }

  function showClass() {
    const label = labelOf.get(classFilter.value.trim().toLowerCase());
    if (label !== undefined) select(Array.from(labels.keys()).filter((n) => labels[n] === label), "images of this class");
    else if (!classFilter.value.trim()) select(null);
    else { count.textContent = "No class has this name."; return; }
    redraw();
  }

  redraw().then(() => {
    plot.on("plotly_hover", hover);
    plot.on("plotly_unhover", () => { tip.hidden = true; });
    plot.on("plotly_click", (event) => event.points.length && event.points[0].curveNumber === 0 && search(ids[event.points[0].pointNumber]));
    plot.on("plotly_selected", (event) => event && select(event.points.filter((one) => one.curveNumber === 0).map((one) => one.pointNumber), "images selected"));
    plot.on("plotly_deselect", () => { select(null); });
  });
  for (const control of [layout, colourBy, drag]) control.addEventListener("input", redraw);
  classFilter.addEventListener("input", showClass);
  byId("map-reset").addEventListener("click", () => {
    classFilter.value = "";
    select(null);
    Plotly.relayout(plot, { selections: [], "xaxis.autorange": true, "yaxis.autorange": true }).then(redraw);
  });
  byId("map-controls").addEventListener("submit", (event) => event.preventDefault());
  onTheme.push(redraw);
}
