"""The command listens, says where, stops when told, and comes back after it was killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from metricforge.cli import serve as serve_command
from metricforge.cli.main import main
from metricforge.errors import MetricForgeError
from metricforge.index import SearchIndex
from metricforge.server.run_server import run_server


def start(index, *options: str) -> tuple[subprocess.Popen, str]:
    """The command as a process, and the address that it printed."""
    command = [sys.executable, "-u", "-m", "metricforge", "serve", str(index), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "80"})
    assert process.stdout is not None
    return process, re.search(r"http://\S+/", process.stdout.readline()).group()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def test_a_port_that_is_taken_is_named_with_the_way_out(built):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricForgeError, match=f"port {port} .*another --port"):
            run_server(SearchIndex(built), port=port)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(built, monkeypatch, capsys):
    monkeypatch.setattr(serve_command, "EXTRA", ("fastapi", "absent_package"))
    with pytest.raises(SystemExit):
        main(["serve", str(built)])
    told = capsys.readouterr().err
    assert "absent_package" in told
    assert "pip install 'metricforge[serve]'" in told
    assert "fastapi," not in told


@pytest.mark.parametrize("option", [["--port", "65536"], ["--max-body", "0"], ["--max-rate", "no"]])
def test_an_option_that_cannot_be_is_refused(option, capsys):
    with pytest.raises(SystemExit) as left:
        main(["serve", "index", *option])
    assert left.value.code == 2
    assert option[1] in capsys.readouterr().err


@pytest.mark.slow
def test_it_stops_when_told_and_listens_to_this_machine_alone(built):
    process, url = start(built, "--port", "0")
    assert url.startswith("http://127.0.0.1:")
    assert httpx.get(url + "health", timeout=30).json()["images"] == 80
    assert httpx.get(url + "health", headers={"Host": "evil.example"}, timeout=30).status_code == 400
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM


@pytest.mark.slow
def test_killed_under_load_it_comes_back_with_all_or_none_of_what_was_added(index, png, tmp_path, authorised):
    token = tmp_path / "token"
    token.write_text(authorised["Authorization"].split()[1])
    port = free_port()
    added: list[int] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            try:
                answer = httpx.post(url + "search", files={"image": png(3)}, timeout=30)
            except httpx.TransportError:
                time.sleep(0.05)  # it was killed
            else:
                assert answer.status_code == 200

    def add() -> None:
        number = 1000
        while not stop.is_set():
            number += 2
            files = [("image", png(number)), ("image", png(number + 1))]
            try:
                time.sleep(0.2)
                added.extend(httpx.post(url + "add", files=files, headers=authorised, timeout=30).json()["ids"])
            except (httpx.TransportError, KeyError):
                time.sleep(0.05)

    process, url = start(index.path, "--port", port, "--token-file", str(token), "--max-rate", "100000")
    clients = [threading.Thread(target=work) for work in (search, search, search, add)]
    for client in clients:
        client.start()
    for _ in range(2):
        time.sleep(2)
        process.kill()
        process.wait()
        process, url = start(index.path, "--port", port, "--token-file", str(token), "--max-rate", "100000")
    time.sleep(1)
    stop.set()
    for client in clients:
        client.join(40)
    images = httpx.get(url + "health", timeout=30).json()["images"]
    process.kill()
    process.wait()
    assert len(added) > 2
    ids = set(SearchIndex(index.path).snapshot().table()["id"].to_pylist())
    assert set(added) <= ids, "what was answered is there"
    assert images == len(ids)
    assert images % 2 == 0, "both images of a request, or none"
