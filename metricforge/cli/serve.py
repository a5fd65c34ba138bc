"""``metricforge serve``: search an index in a browser, and over HTTP."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from rich.console import Console

from metricforge.errors import MetricForgeError

EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "limits")


def serve(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise MetricForgeError(
            f"metricforge serve needs {', '.join(missing)}, which the extra serve installs: "
            "pip install 'metricforge[serve]' (in a clone: pip install '.[serve]')"
        )
    from metricforge.index import SearchIndex
    from metricforge.index.stored_models import has_pytorch
    from metricforge.server.access_token import AccessToken
    from metricforge.server.limits import Limits
    from metricforge.server.run_server import run_server

    if arguments.token_file is not None and not has_pytorch():
        raise MetricForgeError(
            "--token-file lets clients add and remove images, which needs PyTorch: install torch and torchvision, or "
            "leave --token-file out"
        )
    index = SearchIndex(arguments.index, device=arguments.device)
    model = index.embedder  # whatever is wrong with it is said before anything listens
    token = None if arguments.token_file is None else AccessToken.from_file(arguments.token_file)
    limits = Limits(
        body=int(arguments.max_body),
        pixels=arguments.max_pixels,
        k=arguments.max_k,
        waiting=arguments.max_waiting,
        seconds=arguments.max_seconds,
        rate=arguments.max_rate,
    )
    console = Console()

    def started(url: str) -> None:
        text = f"{len(index):,} images of {index.path} at {url}\nmodel {model}\nAPI at {url}openapi.json; Ctrl-C stops"
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    run_server(
        index,
        host=arguments.host,
        port=arguments.port,
        token=token,
        limits=limits,
        proxy=arguments.proxy,
        on_start=started,
    )
