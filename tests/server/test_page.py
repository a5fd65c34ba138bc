"""The page in a real browser: its whole journey, wide and narrow, light and dark."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from metricforge.calibration import Calibration
from metricforge.index import SearchIndex

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

SPY = """() => {
    const original = window.fetch;
    window.fetch = (where, options) => {
        window.sent = (options.body.get("crop") ?? "").replace(/0\\.(099|100)\\d/g, "0.1000");
        return original(where, options);
    };
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        fake_camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *fake_camera])
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens a page that fails the test if it asks for anything elsewhere, or its script fails."""
    contexts, wrong = [], []

    def open_(url: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        page.on("request", lambda sent: sent.url.startswith((url, "blob:", "data:")) or wrong.append(sent.url))
        page.goto(url)
        until(page, "document.getElementById('about').textContent.includes('images')")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def until(page, condition: str) -> None:
    """Waits until the JavaScript ``condition`` holds; Playwright's own waiting is what the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it never came to {condition}: {page.text_content('#fault')}")


def upload(page, content: bytes, name: str = "mine.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def names(page, count: int) -> list[str]:
    """The names of the neighbours, when there are ``count`` of them."""
    until(page, f"document.querySelectorAll('.neighbour').length === {count}")
    until(page, "!document.querySelector('[aria-busy]')")
    return page.locator(".neighbour .name").all_text_contents()


def labels(page) -> set[str]:
    return set(page.locator(".neighbour .label").all_text_contents())


def test_from_an_image_to_neighbours_to_a_neighbour_to_a_filter_and_back(live, built, open_page, png):
    page = open_page(live())
    upload(page, png(13, width=300, height=200))
    assert len(names(page, 12)) == 12
    upload(page, png(13))
    until(page, "document.querySelector('.neighbour .name').textContent === '13.png'")
    assert (
        page.locator(".neighbour").first.get_attribute("aria-label").startswith("1. class_5 13.png, similarity 1.000")
    )
    assert page.locator(".neighbour img").first.evaluate("image => image.complete || image.decode().then(() => true)")

    page.locator(".neighbour").first.click()
    image = SearchIndex(built).search(png(13), 1)[0][0].id
    until(page, f"location.search === '?id={image}'")
    expected = [hit.path.rpartition("/")[2] for hit in SearchIndex(built).search_by_id(image, 12)]
    until(page, f"document.querySelector('.neighbour .name').textContent === {expected[0]!r}")
    assert names(page, 12) == expected

    page.fill("#filter", "label = 'class_2'")
    page.press("#filter", "Enter")
    assert len(names(page, 10)) == 10
    assert labels(page) == {"class_2"}
    page.fill("#filter", "label = ")
    page.press("#filter", "Enter")
    page.wait_for_selector("#fault:not([hidden])")
    assert "syntax error" in page.text_content("#fault")
    page.fill("#filter", "label = 'none'")
    page.press("#filter", "Enter")
    until(page, "document.getElementById('status').textContent.startsWith('No image')")
    assert page.is_hidden("#fault")

    page.fill("#filter", "")
    page.go_back()
    assert len(names(page, 12)) == 12
    assert page.text_content("#caption") == "mine.png"


def test_a_name_with_markup_is_shown_as_text(live, open_page, png):
    page = open_page(live())
    upload(page, png(5), name="<b onclick=alert(2)>me.png")
    assert names(page, 12)[0] == "<img src=x onerror=alert(1)>.png"
    assert page.text_content("#caption") == "<b onclick=alert(2)>me.png"
    assert page.locator("#neighbours b, #caption b, img[src='x']").count() == 0


def test_a_crop_by_mouse_and_by_numbers_searches_with_that_part(live, open_page, png):
    page = open_page(live())
    upload(page, png(13, width=300, height=300))
    whole = page.locator(".score").first.text_content() if names(page, 12) else ""
    area = page.locator("#frame").bounding_box()
    page.mouse.move(area["x"] + 0.1 * area["width"], area["y"] + 0.1 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.4 * area["width"], area["y"] + 0.3 * area["height"], steps=3)
    page.evaluate(SPY)
    page.mouse.up()
    until(page, "window.sent === '0.1000,0.1000,0.4000,0.3000'")
    page.click("summary")
    assert [page.input_value(f"#{edge}") for edge in ("left", "top", "right", "bottom")] == ["10", "10", "40", "30"]
    page.fill("#right", "90")
    page.press("#right", "Tab")
    until(page, "window.sent === '0.1000,0.1000,0.9000,0.3000'")
    page.click("#uncrop")
    until(page, f"document.querySelector('.score').textContent === {whole!r}")


def test_no_match_is_said_where_the_index_is_calibrated(live, index, open_page, png):
    measured = dict(wanted_rate=0.01, rate=0.01, low=0.0, high=0.1, confidence=0.95, accepted=0.9, queries=9, classes=9)
    measured |= dict(gallery=80)
    curve = dict(scores=(0.0, 1.0), probabilities=(0.0, 1.0))
    calibration = Calibration(threshold=0.999, **measured, **curve).to_json()
    replace(index.manifest, calibration=calibration).write(index.path)
    page = open_page(live(index))
    upload(page, png(1000))
    page.wait_for_selector("#no-match:not([hidden])")
    assert "%" in page.locator(".score").first.text_content()
    upload(page, png(3))
    page.wait_for_selector("#no-match", state="hidden")


def test_an_image_is_pasted_dropped_and_photographed(live, open_page, png):
    page = open_page(live())
    give = """([kind, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(content)], kind + ".png", {type: "image/png"}));
        const options = {bubbles: true, cancelable: true};
        document.body.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", {...options, clipboardData: data})
                                                     : new DragEvent("drop", {...options, dataTransfer: data}));
    }"""
    for kind, seed in (("paste", 20), ("drop", 21)):
        page.evaluate(give, [kind, list(png(seed))])
        until(page, f"document.querySelector('.neighbour .name')?.textContent === '{seed}.png'")
        assert page.text_content("#caption") == f"{kind}.png"
    page.click("#photograph")
    until(page, "document.getElementById('video').videoWidth > 0")
    page.click("#shoot")
    until(page, "document.getElementById('caption').textContent === 'photo.jpg'")
    assert len(names(page, 12)) == 12


def test_the_keyboard_alone_does_it(live, open_page, png):
    page = open_page(live())
    upload(page, png(13))
    names(page, 12)
    page.focus("#k")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    names(page, 8)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "neighbour":
            break
    page.keyboard.press("Enter")
    until(page, "location.search.startsWith('?id=')")
    assert page.text_content("#caption") == "class_5 · 13.png"
    unnamed = """[...document.querySelectorAll("button, input, summary")]
        .filter((e) => e.checkVisibility() && !e.getAttribute("aria-label") && !e.labels?.length)
        .filter((e) => !e.textContent.trim()).map((e) => e.outerHTML)"""
    assert page.evaluate(unnamed) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_off_and_text_has_contrast(live, open_page, png, scheme, width):
    page = open_page(live(), viewport={"width": width, "height": 800}, color_scheme=scheme)
    upload(page, png(5))
    names(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = """() => {
        const light = (colour) => {
            const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
            const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
            const colour = getComputedStyle(element).backgroundColor;
            return /, 0\\)$/.test(colour) && element.parentElement ? ground(element.parentElement) : colour;
        };
        const shown = ["h1", "#about", ".hint", ".label", ".name", ".score span", ".button.primary", "#status",
            "#photograph"];
        return shown.map((where) => {
            const element = document.querySelector(where);
            const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
            return [where, (a + 0.05) / (b + 0.05)];
        });
    }"""
    assert [(where, ratio) for where, ratio in page.evaluate(contrast) if ratio < 4.5] == []
    fonts = """[...document.querySelectorAll(".buttons .button")].map((each) => getComputedStyle(each).font)"""
    assert len(set(page.evaluate(fonts))) == 1
