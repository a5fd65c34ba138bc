"use strict";
// What all parts of the page share: the content, elements, the theme, and which part is being read.
const payload = JSON.parse(document.getElementById("payload").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts are text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const className = (label) => payload.classes[label] ?? `class ${label}`;
const figure = (value) => (Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(+value.toPrecision(3))).replace("-", "−");

/** The picture of image `id`, or null where the file has no room for it. */
function picture(id, alt) {
  const encoded = payload.thumbnails[id];
  return encoded ? make("img", { src: `data:image/webp;base64,${encoded}`, alt, loading: "lazy" }) : null;
}

/** The colour that a CSS variable has at present, as plotly takes it. */
function colour(name) {
  const probe = make("i", { style: `color: var(${name}); display: none` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const themes = ["auto", "light", "dark"];
const onTheme = [];
function setTheme(name) {
  if (name === "auto") delete root.dataset.theme;
  else root.dataset.theme = name;
  byId("theme").textContent = { auto: "Auto", light: "Light", dark: "Dark" }[name];
  onTheme.forEach((redraw) => redraw());
}
let theme = "auto";
byId("theme").addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  setTheme(theme);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme));

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    const link = links.get(entry.target.id);
    link?.setAttribute("aria-current", "true");
    const bar = link?.closest("nav");
    if (bar) bar.scrollLeft = link.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
  }
}, { rootMargin: "-25% 0px -70% 0px" });
document.querySelectorAll("main section").forEach((section) => reading.observe(section));
