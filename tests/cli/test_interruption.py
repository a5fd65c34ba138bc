"""The command that is shown for going on starts as many processes on as many machines as were interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from metricforge.cli.interruption import resume_command

ALONE = "metricforge train config.py --work-dir run --resume auto --seed 3 --cfg-options train_cfg.max_epochs=2"


@pytest.mark.parametrize(
    ("environment", "begins"),
    [
        ({}, ""),
        (dict(LOCAL_WORLD_SIZE="4", GROUP_WORLD_SIZE="1"), "torchrun --nproc-per-node 4 -m "),
        (
            dict(LOCAL_WORLD_SIZE="1", GROUP_WORLD_SIZE="2", MASTER_ADDR="node0"),
            "torchrun --nproc-per-node 1 --nnodes 2 --rdzv-backend c10d --rdzv-endpoint node0:29400 -m ",
        ),
    ],
)
def test_going_on_takes_the_processes_and_machines_there_were(monkeypatch, environment, begins):
    for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "metricforge.cli.interruption.next_command", lambda *words: " ".join(["metricforge", *map(str, words)])
    )
    told = argparse.Namespace(config="config.py", seed=3, device=None, cfg_options={"train_cfg.max_epochs": 2})
    assert resume_command(told, Path("run")) == begins + ALONE
