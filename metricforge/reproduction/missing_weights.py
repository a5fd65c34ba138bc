"""Finds files of pretrained weights that are not on this machine, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metricforge.errors import CheckpointError
from metricforge.registry import BACKBONES
from metricforge.reproduction.row_run import RowRun


def missing_weights(runs: Sequence[RowRun]) -> dict[str, list[RowRun]]:
    """What a backbone says of its absent file of weights, such as where to get it, and the runs that need it."""
    missing: dict[str, list[RowRun]] = {}
    for run in runs:
        message = _message(run)
        if message:
            missing.setdefault(message, []).append(run)
    return missing


def _message(run: RowRun) -> str:
    """The error of building the run's backbone; empty if its file is there, or it needs none."""
    file = run.cfg.model.backbone.get("weights")
    # one whose file is there, or that downloads its weights, is not built twice
    if not file or Path(file).expanduser().is_file():
        return ""
    try:
        BACKBONES.build(run.cfg.model.backbone, path="model.backbone")
    except CheckpointError as error:
        return str(error)
    return ""
