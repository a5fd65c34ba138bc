"""A run as a page that follows it, served on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from plotly.offline import get_plotlyjs

from metricforge.errors import MetricForgeError
from metricforge.run_report.score_meanings import score_meaning
from metricforge.run_report.training_part import training_charts
from metricforge.server.gate import HEADERS, Gate
from metricforge.server.limits import Limits
from metricforge.server.listening import address_of, allowed_names, listen
from metricforge.server.measures import Measures
from metricforge.watching.run_state import RunState, progress_facts, read_state

# plotly writes rules of its own into a style element; scripts come from this server alone
POLICY = HEADERS | {
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    )
}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
SHARED = ("theme.css", "page.css", "page.js", "charts.js")  # with reports
OWN = ("watch.css", "watch.js")


def create_page(folder: Path, hosts: Any = None) -> Gate:
    """The ASGI application that shows the run in ``folder``.

    Args:
        folder: of the run.
        hosts: names that the server may be called by; None: any.
    """
    app = FastAPI(title="MetricForge", docs_url=None, redoc_url=None, openapi_url=None)
    texts = {"": _read("metricforge.watching", "page/watch.html"), "plotly.js": get_plotlyjs()}
    texts |= {name: _read("metricforge.report.html", name) for name in SHARED}
    texts |= {name: _read("metricforge.watching", f"page/{name}") for name in OWN}
    texts |= dict.fromkeys(("icon.svg", "favicon.ico"), _read("metricforge.server", "page/icon.svg"))

    @app.get("/state")
    def state(request: Request) -> Response:
        try:
            content = json.dumps(state_json(read_state(folder)), allow_nan=False)
        except MetricForgeError as fault:  # the page goes on with what it knows
            return Response(str(fault), status_code=503, media_type="text/plain")
        tag = f'"{hashlib.sha256(content.encode()).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    def serve(route: str, text: str) -> None:
        kind = KINDS["svg" if route == "favicon.ico" else route.rpartition(".")[2] or "html"]

        def read() -> Response:
            return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

        app.add_api_route(f"/{route}", read, methods=["GET", "HEAD"])

    for route, text in texts.items():
        serve(route, text)
    return Gate(app, Limits(), Measures(), hosts, POLICY)


def state_json(state: RunState) -> dict[str, Any]:
    """``state`` as JSON's types, as the page reads it."""
    return {
        "name": state.name,
        "status": state.status,
        "words": state.words,
        "ended": state.has_ended,
        "facts": [list(pair) for pair in progress_facts(state)],
        "diagnoses": state.diagnoses,
        "charts": [chart.to_json() for chart in training_charts([state])],
        "scores": dict(state.scores),
        "meanings": {name: score_meaning(name) for name in state.scores},
        "baselines": {name: dict(scores) for name, scores in state.baselines.items()},
    }


@contextmanager
def live_page(folder: Path, host: str, port: int) -> Iterator[str]:
    """Serve the page of the run in ``folder`` while it is open; yield its address.

    Raises:
        MetricForgeError: if nothing can listen at ``host`` and ``port``.
    """
    listening = listen(host, port)
    config = uvicorn.Config(
        create_page(folder, allowed_names(host)), log_level="warning", server_header=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True, name="page")
    with listening:
        thread.start()
        try:
            yield address_of(listening)
        finally:
            server.should_exit = True
            thread.join(timeout=5)


def _read(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
