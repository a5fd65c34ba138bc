"""A run's losses and scores as JSON lines, which survive a crash and continue on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metricforge.atomic_write import write_atomically
from metricforge.errors import ComparisonError

FILE_NAME = "history.jsonl"
_REPEATED = frozenset({"scores", "diagnosis", "ended"})  # when a run is resumed there


class History:
    """``history.jsonl`` in a run's folder: a line for each reading of the losses and for each validation.

    ``{"iteration": 20, "epoch": 0.5, "lr": [0.001, 0.01], "losses": {"loss": 1.3}}`` has the learning rate of each
    parameter group and the means of the iterations since the line before, ``{"iteration": 40, "epoch": 1.0, "of":
    "validation classes", "scores": {"recall@1": 0.6}}`` what a validation found, or, when training has ended and
    ``"of": "test classes"``, the chosen weights on the test, ``{"iteration": 40, "epoch": 1.0, "changes":
    {"train_cfg.max_epochs": [3, 5]}}`` the old and the new value of each setting that was changed when the run was
    resumed there. ``"diagnostics": {"gradient_norm": 0.3}`` has what the doctor measured, ``"untrained feature":
    {"recall@1": 0.4}`` what the untrained network scores on the validation classes, ``"diagnosis": {"kind":
    "collapse", "text": "...", "images": []}`` what the doctor said, and ``"ended": {"how": "finished", "why": ""}``
    that training ended there, or how it was ended.

    Args:
        folder: the run's.
        writes: whether this process writes it; of a run's processes only one does.
        keeps_unwritten: whether lines that the disk does not take wait for the next one instead of ending the run.
    """

    def __init__(self, folder: Path, writes: bool = True, keeps_unwritten: bool = False) -> None:
        self._path = folder / FILE_NAME
        self._writes = writes
        self._keeps_unwritten = keeps_unwritten
        self._unwritten = ""

    def start(self, iteration: int) -> None:
        """Drop the lines that a run resumed after ``iteration`` updates writes again, and a line cut off by a crash.

        The resumed run repeats a validation after exactly ``iteration`` updates, so that line is dropped too, and so is
        the end of the run that is resumed.
        """
        if not self._writes:
            return
        kept = [
            line
            for line in read_history(self._path.parent)
            if line["iteration"] < iteration or (line["iteration"] == iteration and not _REPEATED & line.keys())
        ]
        write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept))

    def add_losses(self, iteration: int, epoch: float, lr: Sequence[float], losses: Mapping[str, float]) -> None:
        """Append the mean ``losses`` of the iterations up to ``iteration``."""
        self._append({"iteration": iteration, "epoch": epoch, "lr": list(lr), "losses": dict(losses)})

    def add_scores(self, iteration: int, epoch: float, scores: Mapping[str, float], of: str) -> None:
        """Append the ``scores`` of weights after ``iteration`` updates on the classes that ``of`` names."""
        self._append({"iteration": iteration, "epoch": epoch, "of": of, "scores": dict(scores)})

    def add_changes(self, iteration: int, epoch: float, changes: Mapping[str, Sequence[Any]]) -> None:
        """Append the ``changes``, old and new values, with which the run was resumed after ``iteration`` updates."""
        self._append(
            {"iteration": iteration, "epoch": epoch, "changes": {n: list(pair) for n, pair in changes.items()}}
        )

    def add_values(self, iteration: int, epoch: float, kind: str, values: Mapping[str, float]) -> None:
        """Append ``values`` under ``kind``, "diagnostics" or "untrained feature"."""
        self._append({"iteration": iteration, "epoch": epoch, kind: dict(values)})

    def add_diagnosis(self, iteration: int, epoch: float, kind: str, text: str, images: Sequence[str]) -> None:
        """Append what the doctor said, and the images that it is about."""
        self._append(
            {"iteration": iteration, "epoch": epoch, "diagnosis": {"kind": kind, "text": text, "images": list(images)}}
        )

    def add_end(self, iteration: int, epoch: float, how: str, why: str = "") -> None:
        """Append that training ended: ``how`` is "finished", "stopped" or "failed", ``why`` a reason in words."""
        self._append({"iteration": iteration, "epoch": epoch, "ended": {"how": how, "why": why}})

    def _append(self, line: Mapping[str, Any]) -> None:
        if not self._writes:
            return
        self._unwritten += json.dumps(line) + "\n"
        before = None
        try:
            before = self._path.stat().st_size if self._path.exists() else 0
            with self._path.open("a") as file:
                file.write(self._unwritten)
            self._unwritten = ""
        except OSError:
            if not self._keeps_unwritten:
                raise
            if before is not None:
                with suppress(OSError):  # what a full disk took of the lines
                    os.truncate(self._path, before)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's history, oldest first, without a last line cut off by a crash; empty without a file.

    Raises:
        ComparisonError: for any other line that does not belong to a history.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    history: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            entry = None
        if isinstance(entry, dict) and isinstance(entry.get("iteration"), int):
            history.append(entry)
        elif number < len(lines):
            raise ComparisonError(
                f"{path}, line {number}: is not a line of a run's history: {line[:60]!r}; "
                "remove it, or move the file away"
            )
    return history
