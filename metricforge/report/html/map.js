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
  const layouts = Object.fromEntries(Object.entries(map.layouts).map(([name, packed]) => [name, decode(packed, Uint16Array)]));
  const indexOf = new Map(Array.from(ids, (id, n) => [id, n]));
  const [plot, tip, count] = [byId("map-plot"), byId("map-tip"), byId("map-count")];
  const [layout, colourBy, classFilter, drag] = [byId("layout"), byId("colour-by"), byId("map-class"), byId("drag")];
  const names = [...new Set(labels)].sort((a, b) => a - b);
  const labelOf = new Map(names.map((label) => [className(label).toLowerCase(), label]));
  byId("map-classes").append(...names.slice(0, 5000).map((label) => make("option", { value: className(label) })));
  let selection = null;

  const splitOf = (n) => (n < map.queries ? 0 : n < ids.length - map.training ? 1 : 2);
  /** What each point's colour is the number of, and for a legend what these colours say. */
  function painting() {
    if (colourBy.value === "label") {
      const hues = Array.from({ length: 24 }, (_, n) => `hsl(${(n * 137.5) % 360}deg 65% ${isDark() ? 65 : 45}%)`);
      return { of: (n) => labels[n] % hues.length, colours: hues, legend: [] };
    }
    if (colourBy.value === "split") {
      const legend = [map.training ? "test" : "query", map.training ? "test, gallery alone" : "gallery alone", "training classes"];
      return { of: splitOf, colours: [series(0), series(1), series(2)], legend };
    }
    const legend = ["nearest is of another class", "nearest is of its class", map.training ? "training class, or no match to find" : "no query with a match"];
    return { of: (n) => outcome[n], colours: [colour("--miss"), colour("--match"), colour("--quiet")], legend };
  }

  function paint() {
    const { of, colours, legend } = painting();
    const brush = document.createElement("canvas").getContext("2d");
    const mixed = colours.map((one) => { brush.fillStyle = one; return [1, 3, 5].map((at) => parseInt(brush.fillStyle.slice(at, at + 2), 16)); });
    const chosen = selection === null ? null : new Set(selection);
    const [shades, present] = [new Uint8Array(4 * ids.length), new Set()];
    for (let n = 0; n < ids.length; n += 1) {
      present.add(of(n));
      shades.set(mixed[of(n)], 4 * n);
      shades[4 * n + 3] = chosen === null ? 205 : chosen.has(n) ? 255 : 16;
    }
    cloud.shade(shades);
    byId("map-legend").replaceChildren(...legend.flatMap((text, n) => (present.has(n) ? [make("li", { style: `--run: ${colours[n]}` }, text)] : [])));
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
    const searched = indexOf.get(id);
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
    cloud.mark(near.map((one) => indexOf.get(one.id)).filter((n) => n !== undefined), "neighbour", 6.5);
    cloud.mark([searched], "searched", 10);
  }
  window.searchFrom = { has: (id) => indexOf.has(id), search: (id) => { search(id); byId("map").scrollIntoView(); } };

  function select(indices, words) {
    selection = indices;
    paint();
    const shown = indices === null ? [] : [...indices].slice(0, 48);
    byId("map-selected").replaceChildren(...shown.map((n) => make("li", {}, searchable(tile(ids[n], labels[n], ["miss", "match", "plain"][outcome[n]])))));
    byId("map-selection").hidden = !shown.length;
    count.textContent = indices === null ? "" : `${indices.length.toLocaleString("en")} ${words}${indices.length > shown.length ? `; the first ${shown.length} are below` : ""}`;
  }

  function hover(n, event) {
    tip.hidden = n === null;
    if (n === null) return;
    const says = ["its nearest is of another class", "its nearest is of its class", ["no match to find", "in the gallery alone", "of a training class"][splitOf(n)]][outcome[n]];
    tip.replaceChildren(...[picture(ids[n], "")].filter(Boolean), make("strong", {}, className(labels[n])), make("span", {}, says));
    const box = plot.getBoundingClientRect();
    const left = event.clientX - box.left, top = event.clientY - box.top;
    tip.style.left = `${Math.min(left + 14, Math.max(0, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.min(top + 14, Math.max(0, box.height - tip.offsetHeight - 4))}px`;
  }

  function showClass() {
    const label = labelOf.get(classFilter.value.trim().toLowerCase());
    if (label !== undefined) select(Array.from(labels.keys()).filter((n) => labels[n] === label), "images of this class");
    else if (!classFilter.value.trim()) select(null);
    else count.textContent = "No class has this name.";
  }

  const cloud = pointCloud(plot, ids.length, {
    hover,
    click: (n) => search(ids[n]),
    lasso: (inside) => (inside.length ? select(inside, "images selected") : select(null)),
  });
  if (!cloud.onGpu) count.textContent = "This browser has no WebGL, so large maps are slow.";
  const arrange = () => cloud.place(layouts[layout.value]);
  arrange();
  paint();
  cloud.dragTo(drag.value);
  plot.cloud = cloud;
  layout.addEventListener("input", arrange);
  colourBy.addEventListener("input", paint);
  drag.addEventListener("input", () => cloud.dragTo(drag.value));
  classFilter.addEventListener("input", showClass);
  byId("map-reset").addEventListener("click", () => {
    classFilter.value = "";
    select(null);
    cloud.showAll();
  });
  byId("map-controls").addEventListener("submit", (event) => event.preventDefault());
  onTheme.push(paint);
}
