"""How smoothly a report's map of many images moves in a browser.

    python benchmarks/report_map.py REPORT.html

REPORT.html is any report with a map (``metricforge report RUN``). A copy of it gets a map of ``--points`` made-up
images in ``--classes`` clusters; Chromium opens it without a window, drags the map for ``--seconds``, zooms it, and
moves the pointer over it. Printed are the milliseconds between two frames: their median, and below which 95 of 100 lie;
and those of a page without anything but a canvas of the map's size that is cleared for each frame, which is what the
browser and the machine take by themselves. Without a GPU Chromium draws in software, on the processor, which takes many
times as long; the renderer is printed.

Needs ``playwright`` and a Chromium (``--browser``).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from metricforge.report.html.page import embedded_json

PAYLOAD = re.compile(r'(<script type="application/json" id="payload">)(.*?)(</script>)', re.DOTALL)
BASELINE = """<!doctype html><body style="margin: 0"><canvas id="map-plot" width="1216" height="634"></canvas><script>
  const gl = document.querySelector("canvas").getContext("webgl", { antialias: false });
  let shade = 0;
  onpointermove = onwheel = () => requestAnimationFrame(() => {
    shade = (shade + 0.1) % 1;
    gl.clearColor(shade, shade, shade, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
  });
</script>"""
MOVES = ("dragging", "zooming", "pointing")
FRAMES = """() => {
  window.frames_ = [];
  let last = performance.now();
  const next = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl");
  const more = gl.getExtension("WEBGL_debug_renderer_info");
  return gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
}"""


def made_up_map(points: int, classes: int) -> dict[str, Any]:
    """A map as a report has it, of clusters drawn at random."""
    draws = np.random.default_rng(0)
    labels = draws.integers(classes, size=points)
    places = draws.uniform(0, 60_000, size=(classes, 2))[labels] + draws.normal(0, 700, size=(points, 2))
    found = draws.integers(points, size=(points, 5))

    def packed(values: Any, kind: str) -> str:
        return b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()

    def column(values: Any) -> dict[str, Any]:
        return {"low": 0.0, "high": 1.0, "steps": packed(65_535 * values, "<u2")}

    return {
        "ids": packed(np.arange(points), "<u4"),
        "labels": packed(labels, "<u4"),
        "outcome": packed(draws.integers(2, size=points), "u1"),
        "queries": points,
        "available": points,
        "layouts": {"UMAP": packed(places.clip(0, 65_535), "<u2")},
        "neighbours": 5,
        "found": packed(found, "<u4"),
        "match": packed(labels[found] == labels[:, None], "u1"),
        "scores": column(draws.random((points, 5))),
        "distances": column(draws.random((points, 5))),
        "confidence": column(draws.random(points)),
    }


def with_points(report: str, points: int, classes: int) -> str:
    """The page of ``report`` with the made-up map."""
    found = PAYLOAD.search(report)
    if found is None or "map" not in json.loads(found[2]):
        raise SystemExit("this is no report with a map; write one by: metricforge report RUN")
    payload = json.loads(found[2]) | {"map": made_up_map(points, classes)}
    payload["classes"] = [f"class {number}" for number in range(classes)]
    return report[: found.start(2)] + embedded_json(payload) + report[found.end(2) :]


def frames_of(page: Page, seconds: float, move: str) -> list[float]:
    """Milliseconds between frames while the map is dragged in circles, zoomed, or pointed at: one of ``MOVES``."""
    box = page.locator("#map-plot").bounding_box()
    assert box is not None
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(across, down)
    page.evaluate("() => { window.frames_ = []; }")
    if move == "dragging":
        page.mouse.down()
    ends, turn = time.perf_counter() + seconds, 0.0
    while time.perf_counter() < ends:
        turn += 0.15
        if move == "zooming":
            page.mouse.wheel(0, 40 * np.sign(np.sin(turn)))
        else:
            page.mouse.move(across + 150 * float(np.sin(turn)), down + 100 * float(np.cos(turn)))
    page.mouse.up()
    return list(page.evaluate("() => window.frames_"))


def main() -> None:
    """Make the page, and move its map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    page_text = with_points(arguments.report.read_text(encoding="utf-8"), arguments.points, arguments.classes)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "map.html"
        path.write_text(page_text, encoding="utf-8")
        options = ["--no-sandbox", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(path.as_uri())
        page.select_option("#drag", "pan")
        page.locator("#map-plot").scroll_into_view_if_needed()
        page.wait_for_selector("#map-plot[data-drawn]")
        page.wait_for_timeout(3000)
        empty = browser.new_page(viewport={"width": 1280, "height": 900})
        empty.set_content(BASELINE)
        print(f"{arguments.points:,} points, drawn by {page.evaluate(RENDERER)}")
        for each in (page, empty):
            each.evaluate(FRAMES)
        for move in MOVES:
            slow = {}
            for name, each in (("an empty page", empty), ("the map", page)):
                each.bring_to_front()
                frames = np.array(frames_of(each, arguments.seconds, move)[1:])
                slow[name] = np.quantile(frames, 0.95)
                told = f"{len(frames)} frames, median {np.median(frames):.0f} ms, 95 of 100 below {slow[name]:.0f} ms"
                print(f"{move} {name}: {told}", flush=True)
            print(f"{move}: {slow['the map'] / slow['an empty page']:.1f} times an empty page")
        browser.close()


if __name__ == "__main__":
    main()
