"use strict";
// Points that are moved, zoomed, found under the pointer and enclosed by a lasso. They have numbers, 0..count-1.
const EDGE = 0.04; // of the window, left free around all points
const REACH = 12; // pixels between the pointer and a point
const CELLS = 256; // along an axis of the grid that finds points
const [FEWEST_DRAWN, FIRST_DRAWN] = [2000, 20000];
const [LONG_FRAME, REST] = [24, 140]; // milliseconds; a screen shows a frame every 17, or less

/** Puts points into cells, and finds the nearest ones without looking at all. */
class PointGrid {
  constructor(positions) {
    const cell = (value) => Math.min(CELLS - 1, Math.floor((value / 65536) * CELLS));
    this.positions = positions;
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    this.members = new Uint32Array(positions.length / 2);
    const cells = Uint32Array.from(this.members, (_, n) => cell(positions[2 * n + 1]) * CELLS + cell(positions[2 * n]));
    for (const at of cells) this.starts[at + 1] += 1;
    for (let at = 0; at < CELLS * CELLS; at += 1) this.starts[at + 1] += this.starts[at];
    const next = this.starts.slice();
    cells.forEach((at, n) => { this.members[next[at]++] = n; });
  }

  /** The point nearest to (x, y), 0..1, within `reachX` and `reachY`; null without one. */
  nearest(x, y, reachX, reachY) {
    const range = (value, reach) => [value - reach, value + reach].map((edge) => Math.max(0, Math.min(CELLS - 1, Math.floor(edge * CELLS))));
    const [[left, right], [bottom, top]] = [range(x, reachX), range(y, reachY)];
    let [found, least] = [null, 1];
    for (let row = bottom; row <= top; row += 1) {
      for (let at = this.starts[row * CELLS + left]; at < this.starts[row * CELLS + right + 1]; at += 1) {
        const n = this.members[at];
        const across = (this.positions[2 * n] / 65535 - x) / reachX, up = (this.positions[2 * n + 1] / 65535 - y) / reachY;
        const apart = across * across + up * up;
        if (apart < least) [found, least] = [n, apart];
      }
    }
    return found;
  }
}

/** Whether (x, y) lies within the outline, a list of [x, y]. */
function encloses(outline, x, y) {
  let inside = false;
  for (let n = 0, before = outline.length - 1; n < outline.length; before = n, n += 1) {
    const a = outline[n], b = outline[before];
    if (a[1] > y !== b[1] > y && x < ((b[0] - a[0]) * (y - a[1])) / (b[1] - a[1]) + a[0]) inside = !inside;
  }
  return inside;
}

/** A cloud of `count` points within `place`; `on` has what is called: hover(n or null, event), click(n), lasso(numbers). */
function pointCloud(place, count, on) {
  const canvas = make("canvas", { class: "points" });
  const svg = (name, attributes = {}) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const overlay = svg("svg", { "aria-hidden": "true" });
  const outline = svg("path", { class: "lasso" });
  const rings = svg("g");
  overlay.append(rings, outline);
  place.replaceChildren(canvas, overlay);
  const painter = pointPainter(canvas);

  // In an order drawn at random, the same for the same points, so that the first of them stand for all while the map moves.
  const order = Uint32Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1, state = 1; n > 0; n -= 1) {
    state = (state * 48271) % 2147483647;
    const other = state % (n + 1);
    [order[n], order[other]] = [order[other], order[n]];
  }
  const ordered = (values, each) => {
    const into = new values.constructor(values.length);
    order.forEach((n, at) => { for (let part = 0; part < each; part += 1) into[each * at + part] = values[each * n + part]; });
    return into;
  };

  const camera = { x: 0.5, y: 0.5, zoom: 1 };
  let [positions, grid, marked, mode] = [new Uint16Array(2 * count), null, [], "lasso"];
  let [width, height, asked, isDirty, movedAt, drawnAt] = [1, 1, false, true, -Infinity, null];
  let [shown, budget] = [0, Math.min(count, FIRST_DRAWN)]; // points that are drawn, and that a frame draws

  const world = (value) => EDGE + ((1 - 2 * EDGE) * value) / 65535;
  const toScreen = (n) => [
    (world(positions[2 * n]) - camera.x) * camera.zoom * width + width / 2,
    height / 2 - (world(positions[2 * n + 1]) - camera.y) * camera.zoom * height,
  ];
  const toWorld = (x, y) => [(x - width / 2) / (camera.zoom * width) + camera.x, (height / 2 - y) / (camera.zoom * height) + camera.y];
  const toUnit = (x, y) => toWorld(x, y).map((value) => (value - EDGE) / (1 - 2 * EDGE));
  const local = (event) => { const box = place.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

  function ask() {
    if (!asked) { asked = true; requestAnimationFrame(frame); }
  }
  function change(hasMoved) {
    isDirty = true;
    if (hasMoved) movedAt = performance.now();
    ask();
  }

  // A frame draws as many points as the machine draws in time. While the map moves these stand for all; once it rests,
  // each frame adds as many more, so that no frame takes longer than another.
  function frame(now) {
    asked = false;
    if (drawnAt !== null) {
      if (now - drawnAt > LONG_FRAME) budget = Math.max(Math.min(count, FEWEST_DRAWN), Math.floor(budget * 0.6));
      else budget = Math.min(count, Math.ceil(budget * 1.2));
    }
    const isMoving = now - movedAt < REST;
    if (isDirty) draw(0, budget);
    else if (!isMoving && shown < count) draw(shown, budget);
    const goesOn = isMoving || shown < count;
    drawnAt = goesOn ? now : null;
    if (goesOn) ask();
  }

  /** Draws `more` points behind the `first`, which are there; from 0 on, anew. */
  function draw(first, more) {
    const { x, y, zoom } = camera;
    const [scale, shift] = [2 * zoom * (1 - 2 * EDGE), (centre) => 2 * zoom * (EDGE - centre)];
    const size = (count > 30000 ? 3 : count > 5000 ? 4.5 : count > 800 ? 6 : 9) * Math.min(3, zoom ** 0.2);
    shown = Math.min(count, first + more);
    painter.draw([scale, scale, shift(x), shift(y)], (size * canvas.width) / width, first, shown - first);
    if (first === 0) {
      isDirty = false;
      for (const [n, ring] of marked) {
        const [left, top] = toScreen(n);
        ring.setAttribute("transform", `translate(${left} ${top})`);
      }
    }
    if (shown === count) place.dataset.drawn = count;
  }

  function mark(numbers, kind, radius) {
    const made = numbers.map((n) => [n, svg("circle", { class: kind, r: radius })]);
    marked = [...marked.filter(([, ring]) => ring.getAttribute("class") !== kind || ring.remove()), ...made];
    rings.append(...made.map(([, ring]) => ring));
    for (const [n, ring] of made) ring.setAttribute("transform", `translate(${toScreen(n).join(" ")})`);
  }

  function zoomBy(factor, x, y) {
    const [left, up] = toWorld(x, y);
    const zoom = Math.min(2000, Math.max(0.7, camera.zoom * factor));
    const kept = camera.zoom / zoom;
    Object.assign(camera, { zoom, x: left - (left - camera.x) * kept, y: up - (up - camera.y) * kept });
    change(true);
  }
  function panBy(x, y) {
    const within = (value) => Math.min(1, Math.max(0, value));
    camera.x = within(camera.x - x / (camera.zoom * width));
    camera.y = within(camera.y + y / (camera.zoom * height));
    change(true);
  }
  function showAll() {
    Object.assign(camera, { x: 0.5, y: 0.5, zoom: 1 });
    change(false);
  }
  function pick([x, y]) {
    const reach = REACH / camera.zoom / (1 - 2 * EDGE);
    return grid?.nearest(...toUnit(x, y), reach / width, reach / height) ?? null;
  }

  let [hovered, pointer, lookAsked] = [null, null, false];
  function look(event) {
    pointer = event;
    if (lookAsked) return;
    lookAsked = true;
    requestAnimationFrame(() => {
      lookAsked = false;
      const found = pointer === null || touches.size ? null : pick(local(pointer));
      if (found !== hovered) mark(found === null ? [] : [found], "hovered", 8);
      if (found !== null || hovered !== null) on.hover(found, pointer);
      hovered = found;
    });
  }

  const touches = new Map(); // of fingers, or of the mouse's button, where they are
  let [lasso, travelled] = [[], 0];
  place.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    place.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, local(event));
    [lasso, travelled] = [touches.size === 1 ? [local(event)] : [], touches.size === 1 ? 0 : Infinity];
    look(null);
  });
  place.addEventListener("pointermove", (event) => {
    if (!touches.has(event.pointerId)) { look(event); return; }
    const [before, now] = [touches.get(event.pointerId), local(event)];
    const [x, y] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(x, y);
    touches.set(event.pointerId, now);
    if (touches.size > 1) {
      const other = [...touches].find(([id]) => id !== event.pointerId)[1];
      const apart = (at) => Math.max(20, Math.hypot(at[0] - other[0], at[1] - other[1]));
      panBy(x / 2, y / 2);
      zoomBy(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (mode === "pan") panBy(x, y);
    else if (lasso.length) {
      lasso.push(now);
      outline.setAttribute("d", `M${lasso.map((at) => at.map(Math.round).join(" ")).join("L")}Z`);
    }
  });
  function release(event) {
    if (!touches.delete(event.pointerId) || touches.size) return;
    outline.removeAttribute("d");
    if (event.type === "pointercancel") return;
    if (travelled < 5) {
      const found = pick(local(event));
      if (found !== null) on.click(found);
    } else if (mode === "lasso" && lasso.length > 2) {
      const edge = lasso.map(([x, y]) => toUnit(x, y).map((value) => value * 65535));
      const [xs, ys] = [edge.map(([x]) => x), edge.map(([, y]) => y)];
      const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      const inside = [];
      for (let n = 0; n < count; n += 1) {
        const x = positions[2 * n], y = positions[2 * n + 1];
        if (x >= left && x <= right && y >= bottom && y <= top && encloses(edge, x, y)) inside.push(n);
      }
      on.lasso(inside);
    }
  }
  place.addEventListener("pointerup", release);
  place.addEventListener("pointercancel", release);
  place.addEventListener("pointerleave", () => look(null));
  place.addEventListener("dblclick", showAll);
  place.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, height][event.deltaMode];
    zoomBy(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)), ...local(event));
  }, { passive: false });
  const KEYS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  place.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) panBy(...KEYS[event.key]);
    else if ("+=-".includes(event.key)) zoomBy(event.key === "-" ? 0.8 : 1.25, width / 2, height / 2);
    else if (event.key === "0") showAll();
    else return;
    event.preventDefault();
  });

  new ResizeObserver(() => {
    const ratio = Math.min(devicePixelRatio, 2);
    [width, height] = [Math.max(1, place.clientWidth), Math.max(1, place.clientHeight)];
    Object.assign(canvas, { width: width * ratio, height: height * ratio });
    draw(0, budget); // at once, for a canvas of another size is empty
    ask();
  }).observe(place);
  canvas.addEventListener("webglcontextrestored", () => change(false));
  addEventListener("beforeprint", () => draw(0, count));

  return {
    onGpu: painter.onGpu,
    showAll,
    screenOf: toScreen,
    /** Moves the points to `at`, x and y of each in 0..65535. */
    place(at) {
      positions = at;
      grid = new PointGrid(at);
      painter.place(ordered(at, 2));
      change(false);
    },
    /** Paints each point: red, green, blue and opacity, in 0..255. */
    shade(colours) {
      painter.shade(ordered(colours, 4));
      change(false);
    },
    mark,
    dragTo(what) {
      mode = what;
      place.dataset.drag = what;
    },
  };
}
