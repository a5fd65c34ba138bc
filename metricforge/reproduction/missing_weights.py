"""Finds files of pretrained weights that are not on this machine, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metricforge.backbones.torchvision_weights import torchvision_weights
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
    backbone = run.cfg.model.backbone
    file = backbone.get("weights")
    # one whose file is there, or that downloads its weights, is not built twice
    if not file or Path(file).expanduser().is_file() or _is_downloaded(backbone):
        return ""
    try:
        BACKBONES.build(backbone, path="model.backbone")
    except CheckpointError as error:
        return str(error)
    return ""


def _is_downloaded(backbone: Mapping[str, Any]) -> bool:
    """Whether ``weights`` of ``backbone`` is a name of torchvision's."""
    if backbone["type"] == "TorchvisionBackbone":
        with suppress(ValueError):  # an unknown name: building it says so with its place in the config
            return torchvision_weights(backbone.get("name", "googlenet"), backbone["weights"], False) is not None
    return False
