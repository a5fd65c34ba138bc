"""A report of two runs in a real browser: the map, the filters, the comparison; wide and narrow, light and dark."""

from __future__ import annotations

import json
import shutil

import pytest

from metricforge.run_report.write_report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]
# where the point with the index n of the map is on the screen
PLACE = """n => {
    const plot = document.getElementById("map-plot"), box = plot.getBoundingClientRect();
    const [x, y] = plot.cloud.screenOf(n);
    return [box.x + x, box.y + y];
}"""
# how many pixels of the map are painted in about the colour of right and of wrong images
PAINTED = """() => new Promise((done) => requestAnimationFrame(() => {
    const canvas = document.querySelector("#map-plot canvas"), copy = document.createElement("canvas");
    dispatchEvent(new Event("beforeprint")); // draws now, while the picture can be read
    Object.assign(copy, { width: canvas.width, height: canvas.height });
    const context = copy.getContext("2d");
    context.drawImage(canvas, 0, 0);
    const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
    let [green, red] = [0, 0];
    for (let n = 0; n < pixels.length; n += 4) {
        if (pixels[n + 3] < 150) continue;
        green += pixels[n + 1] > pixels[n] + 40;
        red += pixels[n] > pixels[n + 1] + 40;
    }
    done([green, red]);
}))"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
        started = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(one_run, other_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "both.html"
    return write_report([one_run, other_run], out, training_images=0, device="cpu")


@pytest.fixture
def open_report(browser, report):
    """Opens a page that fails the test if it asks for anything elsewhere, opens a dialog, or its script fails."""
    contexts, wrong = [], []

    def open_(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda sent: sent.url.startswith(("file:", "blob:", "data:")) or wrong.append(sent.url))
        page.goto(report.as_uri())
        page.wait_for_selector("#map-plot[data-drawn]")
        page.add_style_tag(content="html { scroll-behavior: auto !important }")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def _neighbours(page, index: int) -> list[int]:
    """What the file says that image ``index`` of the map finds."""
    return page.evaluate(
        """index => {
            const map = payload.map, found = decode(map.found, Uint32Array);
            return Array.from(found.slice(index * map.neighbours, (index + 1) * map.neighbours));
        }""",
        index,
    )


def test_a_click_on_the_map_searches_and_a_lasso_selects(open_report):
    page = open_report()
    page.locator("#map-plot").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(PLACE, 7))
    page.wait_for_selector("#map-tip:not([hidden]) img")
    page.mouse.click(*page.evaluate(PLACE, 7))
    page.wait_for_selector("#map-found .row")
    tiles = page.locator("#map-found .tile").evaluate_all("tiles => tiles.map(tile => Number(tile.dataset.id))")
    assert tiles[1:] == _neighbours(page, tiles[0])

    page.locator("#map-plot").scroll_into_view_if_needed()
    box = page.locator("#map-plot").bounding_box()
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    corners = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in corners]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=8)
    page.mouse.up()
    page.wait_for_function("document.getElementById('map-count').textContent.startsWith('36 images selected')")
    assert page.locator("#map-selected .tile").count() == 36


def test_points_are_painted_where_they_are_found_and_follow_dragging_and_zooming(open_report):
    page = open_report()
    page.locator("#map-plot").scroll_into_view_if_needed()
    outcomes = "[0, 1].map(kind => decode(payload.map.outcome, Uint8Array).filter(one => one === kind).length)"
    shares = page.evaluate(outcomes)
    red_and_green = page.evaluate(PAINTED)[::-1]
    assert all((pixels > 0) == (count > 0) for pixels, count in zip(red_and_green, shares, strict=True))
    assert sum(red_and_green) > 36 * 20, "36 discs of 9 pixels, some behind others"
    before = page.evaluate(PLACE, 7)
    page.select_option("#drag", "pan")
    box = page.locator("#map-plot").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 40, middle[1] - 25, steps=5)
    page.mouse.up()
    after = page.evaluate(PLACE, 7)
    assert after == pytest.approx([before[0] + 40, before[1] - 25], abs=0.01)
    page.mouse.move(*after)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(300)
    assert page.evaluate(PLACE, 7) == pytest.approx(after, abs=2), "wheels tell whole pixels, and it zooms 2.2 times"
    page.wait_for_selector("#map-tip:not([hidden]) img")
    assert page.locator("#map-found").is_hidden(), "dragging is no click"
    page.locator("#map-plot").press("0")
    page.wait_for_timeout(300)
    assert page.evaluate(PLACE, 7) == pytest.approx(before, abs=0.01)


def test_one_class_is_shown_on_the_map_and_searched_with_the_keyboard(open_report, hostile_names):
    page = open_report()
    page.fill("#map-class", hostile_names[0])
    page.wait_for_selector("#map-selection:not([hidden])")
    assert page.locator("#map-selected .name").all_text_contents() == [hostile_names[0]] * 6
    page.locator("#map-selected .frame").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#map-found .row")
    shown = int(page.locator("#map-selected .tile").nth(2).get_attribute("data-id"))
    assert int(page.locator("#map-found .tile").first.get_attribute("data-id")) == shown
    page.select_option("#colour-by", "label")
    page.select_option("#layout", "t-SNE")
    page.click("#map-reset")
    assert page.locator("#map-selection").is_hidden()


def test_the_gallery_is_filtered_and_sorted(open_report, hostile_names):
    page = open_report()
    page.select_option("#outcome", "failure")
    firsts = page.locator("#gallery-rows .lane.run-0 ol li:first-child .tile")
    assert firsts.count() > 0
    assert all("miss" in kind for kind in firsts.evaluate_all("tiles => tiles.map(tile => tile.className)"))
    page.select_option("#outcome", "all")
    page.select_option("#order", "sure")
    page.fill("#class-filter", hostile_names[1])
    assert page.locator("#gallery-rows > .row").count() == 6
    assert set(page.locator("#gallery-rows > .row > .tile .name").all_text_contents()) == {hostile_names[1]}
    leads = page.locator("#gallery-rows .lane.run-0 p span").all_text_contents()
    values = [float(text.split()[-1].replace("−", "-")) for text in leads]
    assert values == sorted(values, reverse=True)
    page.fill("#class-filter", "no such class")
    assert "No query" in page.locator("#gallery-count").text_content()


def test_what_only_one_run_finds_is_a_click_away(open_report):
    page = open_report()
    page.get_by_role("button", name="What only other finds").click()
    wanted = page.evaluate("payload.gallery.filter(q => q.runs[1].match[0] && !q.runs[0].match[0]).map(q => q.id)")
    shown = page.locator("#gallery-rows > .row > .tile").evaluate_all("tiles => tiles.map(t => Number(t.dataset.id))")
    assert sorted(shown) == sorted(wanted)[: len(shown)]
    only = page.locator("[data-pairing=run-1] data").get_attribute("value")
    assert int(only) == len(wanted)


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
def test_every_part_fits_its_window_and_every_chart_is_drawn(open_report, width, scheme):
    page = open_report(viewport={"width": width, "height": 800}, color_scheme=scheme)
    charts = json.loads(page.locator("#payload").text_content())["charts"]
    for chart in page.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for(state="attached")
    assert page.locator("[data-chart]").count() == len(charts)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
