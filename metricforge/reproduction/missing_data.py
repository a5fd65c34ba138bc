"""Finds data sets that are not on this machine, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metricforge.errors import DatasetError
from metricforge.registry import DATASETS
from metricforge.reproduction.row_run import RowRun


def missing_data(runs: Sequence[RowRun]) -> dict[str, list[RowRun]]:
    """What a data set says of itself when it is absent, such as how to get it, and the runs that need it."""
    said: dict[str, str] = {}
    missing: dict[str, list[RowRun]] = {}
    for run in runs:
        messages = [_message(run.cfg[loader].dataset, said) for loader in ("train_dataloader", "test_dataloader")]
        for message in dict.fromkeys(message for message in messages if message):
            missing.setdefault(message, []).append(run)
    return missing


def _message(dataset: Any, said: dict[str, str]) -> str:
    """The error of building ``dataset``; empty if it is there. ``said`` remembers, since a build reads long lists."""
    # how its images are cropped does not decide whether they are there
    content = {key: value for key, value in dataset.items() if key != "transform"}
    key = repr(sorted(content.items()))
    if key not in said:
        try:
            DATASETS.build(content)
            said[key] = ""
        except DatasetError as error:
            said[key] = str(error)
    return said[key]
