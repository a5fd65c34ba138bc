"""The points of a report's map in a real browser."""

from __future__ import annotations

import shutil
from importlib.resources import files

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]
POINTS = 60_000
PAGE = """<!doctype html><div id="plot" style="width: 600px; height: 400px"></div><script>
  const make = (tag, { class: className = "" } = {}) => Object.assign(document.createElement(tag), { className });
  const drawn = [], draw = WebGLRenderingContext.prototype.drawArrays;
  WebGLRenderingContext.prototype.drawArrays = function (kind, first, count) {
    drawn.push([first, count]);
    draw.call(this, kind, first, count);
  };
</script>"""
START = """count => {
  const place = document.getElementById("plot");
  place.cloud = pointCloud(place, count, { hover() {}, click() {}, lasso() {} });
  place.cloud.place(Uint16Array.from({ length: 2 * count }, (_, n) => (n * 40503) % 65536));
  place.cloud.shade(new Uint8Array(4 * count).fill(200));
  place.cloud.dragTo("pan");
}"""


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.set_content(PAGE)
        for name in ("point_painter.js", "point_cloud.js"):
            page.add_script_tag(content=files("metricforge.report.html").joinpath(name).read_text(encoding="utf-8"))
        page.evaluate(START, POINTS)
        yield page
        browser.close()


def last_picture(page) -> list[list[int]]:
    """What was drawn, once all points are: ranges [first, count], from the last frame on that began anew."""
    all_are_there = f"() => drawn.length && drawn.at(-1)[0] + drawn.at(-1)[1] === {POINTS}"
    page.wait_for_function(all_are_there)
    drawn = page.evaluate("drawn")
    began = max(number for number, (first, _) in enumerate(drawn) if first == 0)
    return drawn[began:]


def test_frames_share_the_points_and_each_is_drawn_once(page):
    ranges = last_picture(page)
    assert len(ranges) > 1, "not all in one frame"
    assert [first for first, _ in ranges[1:]] == [first + count for first, count in ranges[:-1]]


def test_a_map_that_was_moved_is_drawn_anew_and_whole(page):
    last_picture(page)
    page.evaluate("drawn.length = 0")
    page.mouse.move(300, 200)
    page.mouse.down()
    page.mouse.move(320, 210)
    page.mouse.up()
    ranges = last_picture(page)
    assert ranges[0][0] == 0
    assert sum(count for _, count in ranges) == POINTS
