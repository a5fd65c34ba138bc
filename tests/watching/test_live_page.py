"""The page's server: what it answers, to whom, and that it asks for nothing elsewhere."""

from __future__ import annotations

import re
import shutil

import httpx
import pytest

from metricforge.errors import MetricForgeError
from metricforge.run_records.history import History
from metricforge.watching.live_page import live_page


@pytest.fixture
def address(run):
    with live_page(run, "127.0.0.1", 0) as address:
        yield address


def test_the_state_follows_the_run_and_is_sent_only_when_it_has_changed(address, run, finish):
    first = httpx.get(f"{address}state")
    told = first.json()
    losses = next(chart for chart in told["charts"] if chart["key"] == "training_0")
    assert losses["lines"][0]["y"] == [0.8, 0.4, 8 / 30, 0.2]
    assert told["diagnoses"][0]["text"] == "The loss is stuck at [bold]<b>0.2</b>[/bold]."
    assert not told["scores"]
    tag = {"If-None-Match": first.headers["etag"]}
    assert httpx.get(f"{address}state", headers=tag).status_code == 304
    History(run).add_losses(50, 2.5, [0.1], {"loss": 0.1})
    finish(run)
    second = httpx.get(f"{address}state", headers=tag)
    assert second.status_code == 200
    assert second.json()["status"] == "finished"
    assert second.json()["scores"] == {"recall@1": 0.75}
    assert second.json()["baselines"] == {"raw pixels": {"recall@1": 0.25}}


def test_the_page_takes_everything_from_its_own_server(address):
    page = httpx.get(address)
    asked = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert {"/plotly.js", "/theme.css", "/page.css", "/watch.js"} <= set(asked)
    for path in asked:
        assert path.startswith("/"), path
        assert httpx.get(address.rstrip("/") + path).status_code == 200
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'self';" in policy
    assert "http" not in policy


def test_a_run_that_was_deleted_is_an_answer_that_says_so(address, run):
    shutil.rmtree(run)
    answer = httpx.get(f"{address}state")
    assert answer.status_code == 503
    assert "is no longer there" in answer.text


def test_a_page_of_somewhere_else_cannot_read_the_run(address):
    assert httpx.get(f"{address}state", headers={"Host": "elsewhere.example"}).status_code == 400


def test_an_address_that_is_taken_is_an_error(run, address):
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(MetricForgeError, match="choose another --port"), live_page(run, "127.0.0.1", port):
        pass


@pytest.mark.slow
def test_the_page_shows_the_run_in_a_browser_and_notices_its_end(address, run, finish):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        except sync_api.Error:
            pytest.skip("there is no Chromium here")
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith(address) else faults.append(request.url))
        page.goto(address)
        page.wait_for_selector("#chart-training_0")
        page.wait_for_selector(".plot .main-svg")
        assert page.inner_text("#name") == "triplet_birds"
        assert "<b>0.2</b>" in page.inner_text("#sayings")
        assert page.is_hidden("#results")
        finish(run)
        page.wait_for_selector('tr[data-score="recall@1"]', timeout=20_000)
        assert page.inner_text("#words") == "has ended"
        assert page.inner_text('tr[data-score="recall@1"] .value') == "75.0"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        browser.close()
        assert [fault for fault in faults if not fault.startswith(("data:", "blob:"))] == []
