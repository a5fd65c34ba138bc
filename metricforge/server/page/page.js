"use strict";

const byId = (id) => document.getElementById(id);
const LARGEST_SIDE = 2048; // of a photograph that is larger than the server takes
const LEAST_CROP = 0.02;

let health = { most_k: 60, most_bytes: Infinity };
let query = null; // {file, name} or {id, name}, with url: what the preview shows
let crop = null; // left, top, right and bottom as shares of the image; null: all of it
let running = null; // the search that is not answered yet
const visited = []; // queries by their place in the browser's history

// ---------------------------------------------------------------- searching

function fault(text) {
  byId("fault").textContent = text;
  byId("fault").hidden = !text;
}

async function answerOf(response) {
  const values = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(values.error);
  return values;
}

function request() {
  const k = Number(byId("k").value);
  const filter = byId("filter").value.trim();
  if (query.file === undefined) {
    const body = JSON.stringify({ id: query.id, k, ...(filter && { filter }) });
    return { method: "POST", body, headers: { "Content-Type": "application/json" } };
  }
  const body = new FormData();
  body.append("image", query.file, query.name || "image");
  body.append("k", k);
  if (filter) body.append("filter", filter);
  if (crop) body.append("crop", crop.map((edge) => edge.toFixed(4)).join(","));
  return { method: "POST", body };
}

async function search() {
  if (!query) return;
  running?.abort();
  const mine = (running = new AbortController());
  byId("results").setAttribute("aria-busy", "true");
  byId("status").textContent = "Searching …";
  const started = performance.now();
  try {
    const found = await answerOf(await fetch("search", { ...request(), signal: mine.signal }));
    if (mine !== running) return;
    fault("");
    show(found);
    const count = found.hits.length;
    const time = Math.round(performance.now() - started);
    byId("status").textContent = count
      ? `${count} ${count === 1 ? "image" : "images"}, the most alike first · ${time} ms`
      : "No image fulfils the filter.";
  } catch (error) {
    if (mine !== running || error.name === "AbortError") return;
    byId("status").textContent = "";
    fault(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    if (mine === running) byId("results").removeAttribute("aria-busy");
  }
}

function show(found) {
  byId("no-match").hidden = found.match !== false;
  byId("nothing").hidden = true;
  byId("neighbours").replaceChildren(...found.hits.map(card));
  const label = found.hits[0]?.label;
  if (typeof label === "string") suggest(`label = '${label.replaceAll("'", "''")}'`);
}

function suggest(condition) {
  byId("columns").replaceChildren(`A condition over ${health.columns.map((column) => column.name).join(", ")}, such as `, element("code", "", condition));
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text; // never as markup
  return made;
}

function breakable(name, className, text) { // a long name breaks after its underscores first
  const made = element(name, className);
  for (const part of String(text).split(/(?<=[_/.-])/)) made.append(part, document.createElement("wbr"));
  return made;
}

function shortName({ label, name }) { // a folder that is the label is told once
  return name !== undefined && label !== undefined && name.startsWith(`${label}/`) ? name.slice(`${label}/`.length) : name;
}

function card(hit, place) {
  const button = element("button", "neighbour");
  button.type = "button";
  const picture = element("span", "picture");
  const image = element("img", "");
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  image.addEventListener("error", () => image.replaceWith(element("span", "", "no picture")));
  image.src = `images/${hit.id}?size=256`;
  const rank = element("span", "rank", place + 1);
  rank.setAttribute("aria-hidden", "true");
  picture.append(image, rank);

  const score = element("span", "score");
  const bar = element("span", "bar");
  const filled = element("i", "");
  const share = hit.probability ?? hit.score;
  filled.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  bar.append(filled);
  bar.hidden = share < 0; // a distance has no bar
  const told = hit.score.toFixed(3);
  score.append(element("span", "", hit.probability === null ? told : `${told} · ${Math.round(100 * hit.probability)} %`), bar);
  score.title = hit.probability === null ? "similarity" : "similarity · probability of being the same";

  const about = element("span", "about");
  about.append(score);
  if (hit.label !== null) about.append(breakable("span", "label", hit.label));
  about.append(breakable("span", "name", shortName(hit)));
  const more = Object.entries(hit.metadata).map(([key, value]) => `${key}: ${value}`);
  if (more.length) about.append(element("span", "name", more.join(" · ")));

  button.append(picture, about);
  button.setAttribute("aria-label", `${place + 1}. ${hit.label ?? ""} ${shortName(hit)}, similarity ${told}. Search on from it`);
  button.addEventListener("click", () => {
    take({ id: hit.id, name: hit.name, label: hit.label });
    window.scrollTo({ top: 0, behavior: "smooth" });
    byId("results").focus({ preventScroll: true });
  });
  const item = element("li", "");
  item.append(button);
  return item;
}

// ---------------------------------------------------------------- the query and the browser's history

function take(next) {
  visited.splice(next.visit = (history.state?.visit ?? -1) + 1, Infinity, next);
  history.pushState({ visit: next.visit }, "", address(next));
  turnTo(next);
}

function address(next) {
  return next.file === undefined ? `?id=${next.id}` : "./";
}

function turnTo(next) {
  if (query?.file && query.url) URL.revokeObjectURL(query.url);
  query = next;
  crop = null;
  query.url = query.file ? URL.createObjectURL(query.file) : `images/${query.id}?size=512`;
  byId("preview").src = query.url;
  byId("preview").alt = query.file ? "Your image" : "The image that is searched with";
  byId("frame").hidden = false;
  byId("invitation").hidden = true;
  byId("stage").classList.remove("empty");
  byId("crop-panel").hidden = false;
  byId("caption").hidden = false;
  byId("caption").textContent = [query.label, shortName(query)].filter((each) => each !== undefined && each !== null && each !== "").join(" · ");
  showCrop();
  search();
}

window.addEventListener("popstate", (event) => {
  const before = visited[event.state?.visit];
  const id = idOfAddress();
  if (before) turnTo(before);
  else if (id !== null) turnTo({ id, name: `image ${id}` });
  else location.reload();
});

function idOfAddress() {
  const id = new URLSearchParams(location.search).get("id");
  return id !== null && /^\d{1,18}$/.test(id) ? Number(id) : null;
}

byId("preview").addEventListener("load", ({ target }) => {
  byId("frame").style.setProperty("--ratio", target.naturalWidth / target.naturalHeight);
});

byId("preview").addEventListener("error", () => {
  if (!query) return;
  byId("frame").hidden = true; // such as HEIC, which few browsers show
  byId("caption").textContent += " (this browser cannot show it)";
});

// ---------------------------------------------------------------- images from everywhere

async function takeFile(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return fault(`${file.name || "This"} is no image.`);
  const name = file.name || "image";
  take({ file: file.size > health.most_bytes * 0.95 ? await shrunk(file) : file, name });
}

async function shrunk(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    return await drawn(bitmap, bitmap.width * scale, bitmap.height * scale);
  } catch {
    return file; // the server says what is wrong with it
  }
}

function drawn(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

for (const id of ["file", "capture"]) {
  byId(id).addEventListener("change", (event) => {
    takeFile(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) {
    event.preventDefault();
    takeFile(file);
  }
});

let inside = 0;
document.addEventListener("dragenter", () => { inside += 1; document.body.classList.add("dragging"); });
document.addEventListener("dragleave", () => { inside -= 1; if (inside <= 0) stopDragging(); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stopDragging();
  takeFile(event.dataTransfer.files[0]);
});

function stopDragging() {
  inside = 0;
  document.body.classList.remove("dragging");
}

byId("photograph").addEventListener("click", async () => {
  const devices = navigator.mediaDevices;
  if (!devices || matchMedia("(pointer: coarse)").matches) return byId("capture").click(); // a phone's own camera
  try {
    byId("video").srcObject = await devices.getUserMedia({ video: { facingMode: "environment" } });
    byId("camera").showModal();
  } catch (error) {
    fault(`The camera cannot be used (${error.name}).`);
  }
});

byId("shoot").addEventListener("click", async () => {
  const video = byId("video");
  const photo = await drawn(video, video.videoWidth, video.videoHeight);
  byId("camera").close();
  take({ file: photo, name: "photo.jpg" });
});

byId("close-camera").addEventListener("click", () => byId("camera").close());
byId("camera").addEventListener("close", () => {
  for (const track of byId("video").srcObject?.getTracks() ?? []) track.stop();
  byId("video").srcObject = null;
});

// ---------------------------------------------------------------- the crop

const edges = ["left", "top", "right", "bottom"];

function showCrop() {
  const [left, top, right, bottom] = crop ?? [0, 0, 1, 1];
  const box = byId("crop");
  box.hidden = !crop;
  box.style.left = `${100 * left}%`;
  box.style.top = `${100 * top}%`;
  box.style.width = `${100 * (right - left)}%`;
  box.style.height = `${100 * (bottom - top)}%`;
  [left, top, right, bottom].forEach((edge, place) => { byId(edges[place]).value = Math.round(100 * edge); });
}

async function useCrop(next) {
  crop = next;
  showCrop();
  if (crop && query.file === undefined) { // of an image of the index the page has the picture
    const image = await fetch(`images/${query.id}?size=1024`);
    if (!image.ok) return fault("This image cannot be cropped: its file is gone.");
    query = { ...query, file: await image.blob(), url: null };
  }
  search();
}

for (const id of edges) {
  byId(id).addEventListener("change", () => {
    const [left, top, right, bottom] = edges.map((edge) => Math.min(100, Math.max(0, Number(byId(edge).value))) / 100);
    if (left < right && top < bottom) useCrop(left === 0 && top === 0 && right === 1 && bottom === 1 ? null : [left, top, right, bottom]);
    else fault("The crop is empty: left must be below right, and top below bottom.");
  });
}

byId("uncrop").addEventListener("click", () => useCrop(null));
byId("crop-panel").addEventListener("toggle", () => document.body.classList.toggle("cropping", byId("crop-panel").open));

const frame = byId("frame");
let from = null;

function share(event) {
  const area = frame.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  return [within((event.clientX - area.left) / area.width), within((event.clientY - area.top) / area.height)];
}

frame.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || (event.pointerType === "touch" && !byId("crop-panel").open)) return;
  from = share(event);
  frame.setPointerCapture(event.pointerId);
});

frame.addEventListener("pointermove", (event) => {
  if (!from) return;
  const [x, y] = share(event);
  crop = [Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)];
  showCrop();
});

frame.addEventListener("pointerup", () => {
  if (!from) return;
  from = null;
  const wide = crop && crop[2] - crop[0] >= LEAST_CROP && crop[3] - crop[1] >= LEAST_CROP;
  useCrop(wide ? crop : null);
});

frame.addEventListener("pointercancel", () => { from = null; });

// ---------------------------------------------------------------- the options

byId("k").addEventListener("input", () => { byId("k-value").textContent = byId("k").value; });
byId("k").addEventListener("change", search);
byId("options").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});

async function begin() {
  try {
    health = await answerOf(await fetch("health"));
  } catch {
    return fault("The server cannot be reached.");
  }
  byId("about").textContent = `${health.images.toLocaleString("en")} images · ${health.dim} dimensions`;
  byId("k").max = Math.min(60, health.most_k);
  const names = health.columns.map((column) => column.name);
  if (names.length) {
    suggest(`${names[0]} = ${health.columns[0].type.includes("string") ? "'one'" : "1"}`);
    byId("filter").placeholder = `${names[0]} = …`;
  } else {
    byId("filter").closest(".field").hidden = true;
  }
  const id = idOfAddress();
  if (id !== null) turnTo({ id, name: `image ${id}` });
}

begin();
