"""What a run's folder says of the run, whatever has become of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from metricforge.errors import MetricForgeError
from metricforge.run_records.history import History
from metricforge.run_records.run_lock import OWNER_FILE, RunLock
from metricforge.watching.run_state import check_run, read_state


def test_a_run_that_is_trained_is_running_and_one_that_has_not_logged_is_waiting(run, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    for folder, status in ((run, "running"), (new, "waiting")):
        lock = RunLock(folder)
        lock.acquire()
        check_run(folder)
        assert read_state(folder).status == status
        assert not read_state(folder).has_ended
        lock.release()


def test_it_knows_where_training_has_got_to_and_what_the_doctor_said(run):
    state = read_state(run)
    assert state.latest["iteration"] == 40
    assert state.validation()["scores"]["recall@1"] == 0.8
    assert [one["kind"] for one in state.diagnoses] == ["margin"]


@pytest.mark.parametrize(
    ("how", "why", "says"),
    [
        ("finished", "", "triplet_birds has ended"),
        ("failed", "the loss became nan", "triplet_birds has failed: the loss became nan"),
        ("stopped", "stopped by SIGTERM", "triplet_birds was stopped: stopped by SIGTERM"),
    ],
)
def test_an_end_is_told_with_its_reason(run, finish, how, why, says):
    finish(run, how, why)
    state = read_state(run)
    assert (state.status, state.words, state.has_ended) == (how, says, True)
    assert state.scores == ({"recall@1": 0.75} if how == "finished" else {})


def test_a_process_that_is_no_more_has_died(run):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (run / OWNER_FILE).write_text(json.dumps({"host": socket.gethostname(), "pid": int(gone.stdout)}))
    assert read_state(run).status == "died"


def test_a_training_on_another_machine_lives_as_long_as_its_record_is_touched(run):
    (run / OWNER_FILE).write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert read_state(run).status == "running"
    os.utime(run / OWNER_FILE, (0, 0))
    assert read_state(run).status == "died"


def test_a_resumed_run_is_running_and_ends_anew(run, finish):
    finish(run, "stopped", "stopped by SIGTERM")
    lock = RunLock(run)
    lock.acquire()
    History(run).start(40)
    assert read_state(run).status == "running"
    lock.release()
    finish(run)
    assert read_state(run).status == "finished"


def test_a_run_from_before_ends_were_noted_has_ended_if_it_has_scores(run, finish):
    finish(run)
    lines = (run / "history.jsonl").read_text().splitlines()
    (run / "history.jsonl").write_text("\n".join(line for line in lines if "ended" not in line) + "\n")
    assert read_state(run).status == "finished"


def test_what_is_no_run_is_refused_with_the_runs_that_are_near(run, tmp_path):
    with pytest.raises(MetricForgeError, match=r"triplet_brids: there is no such folder; there: .*triplet_birds"):
        check_run(tmp_path / "triplet_brids")
    with pytest.raises(MetricForgeError, match=r"not the folder of a training.*runs inside: .*triplet_birds"):
        check_run(tmp_path)
    with pytest.raises(MetricForgeError, match=r"history.jsonl: is a file; name the folder of a run"):
        check_run(run / "history.jsonl")
    shutil.rmtree(run)
    with pytest.raises(MetricForgeError, match="not the folder of a training"):
        check_run(tmp_path)


def test_a_damaged_history_is_named(run):
    path = run / "history.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(MetricForgeError, match=r"history.jsonl, line 1"):
        read_state(run)
