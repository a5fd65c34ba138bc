"use strict";
// Queries and what they find, as rows; what the map searches is shown the same way.
const PAGE = 12;

/** A framed picture with its class and, of a neighbour, its similarity and distance. */
function tile(id, label, kind, figures) {
  const name = className(label);
  const says = { match: "match", miss: "not a match", query: "query" }[kind];
  const image = picture(id, `${name}, ${says}`);
  const frame = make("span", { class: image ? "frame" : "frame empty", "data-mark": { match: "✓", miss: "✗" }[kind] }, image ?? payload.places?.[id] ?? "no picture in this file");
  return make("div", { class: `tile ${kind}`, "data-id": id }, frame, make("span", { class: "name", title: name }, name), figures ? make("span", { class: "figures", title: figures.title }, figures.text) : null);
}

function lane(found, runName, number) {
  const list = make("ol");
  found.ids.forEach((id, rank) => {
    const [score, distance] = [figure(found.scores[rank]), figure(found.distances[rank])];
    const figures = { text: `${score} · ${distance}`, title: `similarity ${score}, distance ${distance}` };
    list.append(make("li", {}, tile(id, found.labels[rank], found.match[rank] ? "match" : "miss", figures)));
  });
  const heading = runName === null ? null : make("p", {}, runName, make("span", {}, ` · confidence ${figure(found.confidence)}`));
  return make("div", { class: `lane run-${number}` }, heading, list);
}

/** A query with a lane for each run; of one run its confidence stands below the query. */
function resultRow(query, runNames) {
  const alone = query.runs.length === 1;
  const sure = alone ? { text: `confidence\n${figure(query.runs[0].confidence)}`, title: "by how much the nearest beats the nearest of another class" } : null;
  const lanes = query.runs.map((found, number) => lane(found, alone ? null : runNames[number], number));
  return make("li", { class: "row" }, tile(query.id, query.label, "query", sure), make("div", { class: "lanes" }, ...lanes));
}

function startGallery() {
  const [rows, more, count] = [byId("gallery-rows"), byId("gallery-more"), byId("gallery-count")];
  const [outcome, order, filter] = [byId("outcome"), byId("order"), byId("class-filter")];
  const queries = payload.gallery;
  const hit = (query, run = 0) => query.runs[run].match[0] === 1;
  const sureness = (query) => query.runs[0].confidence;
  const orders = {
    mixed: (a, b) => a.label - b.label || a.id - b.id,
    failures: (a, b) => hit(a) - hit(b) || sureness(b) - sureness(a),
    successes: (a, b) => hit(b) - hit(a) || sureness(b) - sureness(a),
    sure: (a, b) => sureness(b) - sureness(a),
    unsure: (a, b) => sureness(a) - sureness(b),
  };
  const kept = {
    all: () => true, success: (query) => hit(query), failure: (query) => !hit(query),
    "only-0": (query) => hit(query, 0) && !hit(query, 1), "only-1": (query) => hit(query, 1) && !hit(query, 0),
  };
  const labels = [...new Set(queries.map((query) => query.label))].sort((a, b) => a - b);
  byId("class-names").append(...labels.map((label) => make("option", { value: className(label) })));
  let selected = [];
  function showMore() {
    const shown = rows.childElementCount;
    rows.append(...selected.slice(shown, shown + PAGE).map((query) => resultRow(query, payload.galleryRuns)));
    rows.querySelectorAll(".tile").forEach(searchable);
    more.hidden = rows.childElementCount >= selected.length;
  }
  function show() {
    const wanted = filter.value.trim().toLowerCase();
    const exact = labels.some((label) => className(label).toLowerCase() === wanted);
    selected = queries.filter((query) => {
      const name = className(query.label).toLowerCase();
      return kept[outcome.value](query) && (!wanted || (exact ? name === wanted : name.includes(wanted)));
    }).sort(orders[order.value]);
    rows.replaceChildren();
    count.textContent = selected.length ? `${selected.length} of ${queries.length} queries` : "No query is like this; choose less.";
    showMore();
  }
  more.addEventListener("click", showMore);
  for (const control of [outcome, order, filter]) control.addEventListener("input", show);
  byId("gallery-controls").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-outcome]")) {
    button.addEventListener("click", () => {
      outcome.value = button.dataset.outcome;
      show();
      byId("gallery").scrollIntoView();
      outcome.focus({ preventScroll: true });
    });
  }
  show();
}
