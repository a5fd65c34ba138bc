"""``metricforge watch RUN``: the curves of a run while it trains, in the terminal and as a page."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.errors import MetricForgeError

OF_TERMINAL = ("plotille", "jinja2")
OF_PAGE = ("plotly", "fastapi", "uvicorn", "prometheus_client", "limits")
LOOPBACK = "127.0.0.1"
STATUS_OF_INTERRUPT = 130


def watch(arguments: argparse.Namespace) -> None:
    """Follow the run to its end; exit with 1 if that is none of its own."""
    if arguments.host is not None and arguments.port is None:
        raise MetricForgeError("--host: applies to the page that --port serves; add --port 8001, or leave --host out")
    needed = OF_TERMINAL + (OF_PAGE if arguments.port is not None else ())
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MetricForgeError(
            f"metricforge watch needs {', '.join(missing)}, which the extra watch installs: "
            "pip install 'metricforge[watch]' (in a clone: pip install '.[watch]')"
        )
    from metricforge.watching.follow_run import follow_run
    from metricforge.watching.run_state import check_run

    console = open_console()
    check_run(arguments.folder)
    with ExitStack() as held:
        if arguments.port is not None:
            from metricforge.watching.live_page import live_page

            host = arguments.host or LOOPBACK
            address = held.enter_context(live_page(arguments.folder, host, arguments.port))
            for line in _where(address, host, arguments.folder):
                console.print(Text(line), soft_wrap=True)
        try:
            state = follow_run(arguments.folder, console, keep=arguments.keep)
        except KeyboardInterrupt:
            console.print(Text("no longer watched; the run goes on"))
            sys.exit(STATUS_OF_INTERRUPT)
    console.print(Text(f"{state.words}{'.' if state.status == 'finished' else ''}"), soft_wrap=True)
    if state.status != "finished":
        console.print(Text("go on with the command that trained it and --resume auto"), soft_wrap=True)
        sys.exit(1)
    if state.scores:
        console.print(Text(f"see why: metricforge report {arguments.folder}"), soft_wrap=True)


def _where(address: str, host: str, run: Path) -> list[str]:
    """Where the page is, and from another machine over ssh how to get there."""
    lines = [f"{run} at {address}; Ctrl-C stops watching, not the run"]
    if host == LOOPBACK and "SSH_CONNECTION" in os.environ:
        port = address.rstrip("/").rpartition(":")[2]
        _, _, reached, by = (*os.environ["SSH_CONNECTION"].split(), "", "", "22")[:4]  # this machine's side of it
        name = socket.getfqdn()
        here = f"{getpass.getuser()}@{reached if reached and name.startswith('localhost') else name}"
        options = f"-L {port}:localhost:{port}" + (f" -p {by}" if by != "22" else "")
        lines.append(f"from your own machine: ssh {options} {here}, then open http://localhost:{port}/")
    return lines
