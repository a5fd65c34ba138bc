"use strict";
// Lists of pictures with a sentence to each.
const FIRST = 6;

// The map first, for every picture elsewhere can be searched with on it.
if (payload.map) startMap(payload.map);
if (payload.gallery.length) startGallery();

function entry(item) {
  const tiles = item.tiles.map((one) => make("li", {}, searchable(tile(one.id, one.label, one.kind, one.text ? { text: one.text, title: "similarity" } : null))));
  return make("li", { class: "entry" }, make("h4", {}, item.title), make("p", { class: "note" }, item.text), make("ol", { class: "strip" }, ...tiles));
}

for (const place of document.querySelectorAll("[data-pictures]")) {
  const items = payload.pictures[place.dataset.pictures] ?? [];
  if (!items.length) place.replaceWith(make("p", { class: "note" }, "None was found."));
  place.append(...items.slice(0, FIRST).map(entry));
  if (items.length > FIRST) {
    const more = make("button", { type: "button", class: "button" }, `Show all ${items.length}`);
    more.addEventListener("click", () => {
      place.append(...items.slice(FIRST).map(entry));
      more.remove();
    });
    place.after(more);
  }
}
