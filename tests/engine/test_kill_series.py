"""A training that is killed while it writes checkpoints goes on as if it had not been."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "kill_series.py"


@pytest.mark.slow
def test_kills_within_writes_cost_nothing():
    done = subprocess.run([sys.executable, str(SCRIPT), "--kills", "8"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    within = re.match(r"8 kills \((\d+) within a write", done.stdout)
    assert within is not None, done.stdout
    assert int(within[1]) >= 4, "most are meant to fall into a write"
    assert "2 runs ended bit-equal with an uninterrupted one" in done.stdout


@pytest.mark.slow
def test_kills_of_two_processes_within_writes_of_shards_cost_nothing():
    command = [sys.executable, str(SCRIPT), "--kills", "2", "--sharded"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"2 kills \(.*within the", done.stdout), done.stdout
    assert "1 runs ended bit-equal with an uninterrupted one" in done.stdout
