"""One training has a run's folder at a time, and whoever is refused reads who it is."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from metricforge.errors import RunFolderError
from metricforge.run_records import run_lock
from metricforge.run_records.run_lock import OWNER_FILE, RunLock, read_owner

# without the imports of metricforge.engine, which take seconds and are no part of a lock
HOLDS = """
import importlib.util, sys, time, types
from pathlib import Path
(package,) = importlib.util.find_spec("metricforge").submodule_search_locations
sys.modules["metricforge.engine"] = types.ModuleType("metricforge.engine")
sys.modules["metricforge.engine"].__path__ = [package + "/engine"]
from metricforge.run_records.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
{then}
print("holds", flush=True)
time.sleep(60)
"""
FORKS = "import os\nif os.fork() == 0:\n    time.sleep(float(sys.argv[2]))\n    os._exit(0)\n"


@pytest.fixture
def holder(tmp_path):
    """A process that holds ``tmp_path``, and with ``outlived_by`` forks a child that stays so many seconds."""
    started = []

    def start(outlived_by: float | None = None) -> subprocess.Popen[str]:
        script = HOLDS.format(then="" if outlived_by is None else FORKS)
        command = [sys.executable, "-c", script, str(tmp_path), str(outlived_by or 0)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "holds\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_refusal_says_host_process_time_and_command(tmp_path, holder):
    process = holder()
    with pytest.raises(RunFolderError) as refused:
        RunLock(tmp_path).acquire()
    for said in (str(tmp_path), f"process {process.pid} on {socket.gethostname()} since 20", "-c", "--work-dir"):
        assert said in str(refused.value)


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    process = holder()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_owner(tmp_path)["pid"] == process.pid
    lock = RunLock(tmp_path)
    lock.acquire()
    assert read_owner(tmp_path)["pid"] == os.getpid()
    lock.release()
    assert read_owner(tmp_path) == {}


def test_children_that_outlive_a_killed_holder_do_not_keep_its_folder(tmp_path, holder):
    process = holder(outlived_by=3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = RunLock(tmp_path)
    lock.acquire()
    assert read_owner(tmp_path)["pid"] == os.getpid()


def of_another_host(folder, seconds_ago):
    record = folder / OWNER_FILE
    record.write_text(json.dumps({"host": "far", "pid": 7, "since": "2026-01-01 00:00:00", "command": "train x"}))
    os.utime(record, (time.time() - seconds_ago,) * 2)


def test_a_live_holder_on_another_host_is_respected_where_the_lock_does_not_reach(tmp_path):
    of_another_host(tmp_path, seconds_ago=30)
    with pytest.raises(
        RunFolderError, match=r"process 7 on far since 2026-01-01 .*train x.* sign of life was 3\d s ago"
    ):
        RunLock(tmp_path).acquire()
    assert read_owner(tmp_path)["host"] == "far", "its record stays"


def test_a_record_of_another_host_without_a_sign_of_life_is_taken_over(tmp_path):
    of_another_host(tmp_path, seconds_ago=130)
    lock = RunLock(tmp_path)
    lock.acquire()
    assert read_owner(tmp_path)["host"] == socket.gethostname()


def test_a_holder_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "SIGN_OF_LIFE_SECONDS", 0.02)
    lock = RunLock(tmp_path)
    lock.acquire()
    os.utime(tmp_path / OWNER_FILE, (0, 0))
    deadline = time.monotonic() + 10
    while (tmp_path / OWNER_FILE).stat().st_mtime < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert time.time() - (tmp_path / OWNER_FILE).stat().st_mtime < 10
    lock.release()


def test_in_one_process_a_training_keeps_its_folder_and_a_runner_that_waits_gives_way(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with first.in_use(), pytest.raises(RunFolderError, match=f"process {os.getpid()}"):
        second.acquire()
    assert not first.is_held
    first.acquire()
    second.acquire()
    assert (first.is_held, second.is_held) == (False, True)


def test_a_lock_that_nobody_has_any_more_is_released(tmp_path):
    RunLock(tmp_path).acquire()
    gc.collect()
    assert read_owner(tmp_path) == {}


def test_a_broken_record_keeps_nobody_out(tmp_path):
    (tmp_path / OWNER_FILE).write_text('{"pid": ')
    RunLock(tmp_path).acquire()
