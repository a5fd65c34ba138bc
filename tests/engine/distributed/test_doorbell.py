"""A knock tells a process that is busy from one that has died, and from a machine that is gone."""

from __future__ import annotations

import errno
import json
import multiprocessing
import socket
import time

import pytest

from metricforge.engine.distributed import process_watch
from metricforge.engine.distributed.doorbell import Doorbell, knock
from metricforge.engine.distributed.process_watch import ProcessWatch
from tests.shared_store import SharedStore


@pytest.fixture
def doorbell():
    """Of this process, on the address from where it reaches a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as meeting_place:
        opened = Doorbell(*meeting_place.getsockname())
    yield opened
    opened.close()


def test_the_system_answers_for_a_process_that_does_not_and_refuses_for_one_that_has_gone(doorbell):
    assert [knock(*doorbell.place) for _ in range(20)] == ["answers"] * 20
    doorbell.clear()
    assert knock(*doorbell.place) == "answers"
    doorbell.close()
    assert knock(*doorbell.place) == "refuses"


@pytest.mark.parametrize("error", [TimeoutError(), OSError(errno.ENETUNREACH, "Network is unreachable")])
def test_a_machine_that_is_not_there_is_silent(monkeypatch, error):
    def connect(place, seconds):
        assert (place, seconds) == (("node1", 9), 3.0)
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    assert knock("node1", 9) == "is silent"


def test_a_worker_of_a_data_loader_does_not_answer_for_the_process_that_forked_it(doorbell):
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    try:
        doorbell.close()
        until = time.monotonic() + 30
        while knock(*doorbell.place) != "refuses" and time.monotonic() < until:
            time.sleep(0.01)  # the worker may not have had a turn yet, in which it closes its copy
        assert knock(*doorbell.place) == "refuses"
    finally:
        worker.kill()
        worker.join()


def blamed(place, monkeypatch, looks):
    """Whom a process blames that looks so often for one with that door, which falls silent after the first time."""
    monkeypatch.setattr(process_watch, "BROKEN_SECONDS", 0.0)
    store = SharedStore({"alive/1": json.dumps({"beat": 1, "host": "node1", "pid": 7, "hangs": False, "door": place})})
    watch = ProcessWatch(store, 0, 2)
    for beat in range(looks):
        if "failed" not in store:  # it would end this process
            watch._look(beat)
    return json.loads(store["failed"])["what"] if "failed" in store else None


def test_a_silent_process_whose_port_answers_is_left_alone_and_one_whose_port_is_closed_was_killed(
    doorbell, monkeypatch
):
    assert blamed(doorbell.place, monkeypatch, 5) is None
    answers = iter(["answers", "refuses"])
    monkeypatch.setattr(process_watch, "knock", lambda host, port: next(answers))
    assert blamed(doorbell.place, monkeypatch, 5) == (
        "process 1 (pid 7 on node1) ended without a word 0 seconds ago: it was killed, or left by os._exit"
    )


def test_two_knocks_without_an_answer_are_a_machine_that_is_gone_but_only_if_it_ever_answered(monkeypatch):
    answers = iter(["answers", "is silent", "answers", "is silent", "is silent"])
    monkeypatch.setattr(process_watch, "knock", lambda host, port: next(answers))
    assert "cannot be reached for 0 seconds: its machine or the connection" in blamed(("node1", 9), monkeypatch, 9)
    monkeypatch.setattr(process_watch, "knock", lambda host, port: "is silent")
    assert blamed(("node1", 9), monkeypatch, 9) is None, "a firewall is no fault of the process"
