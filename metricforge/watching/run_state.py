"""What is known of a run at this moment, read from its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from metricforge.errors import MetricForgeError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import FILE_NAME, read_history
from metricforge.run_records.run_lock import holder
from metricforge.run_report.diagnostics_part import diagnoses
from metricforge.run_report.training_part import validations

Status = Literal["waiting", "running", "finished", "stopped", "failed", "died"]
WORDS: Mapping[Status, str] = {
    "waiting": "has not logged anything yet",
    "running": "is training",
    "finished": "has ended",
    "stopped": "was stopped",
    "failed": "has failed",
    "died": "was killed, or its machine went away",
}
ENDS: frozenset[Status] = frozenset({"finished", "stopped", "failed", "died"})


@dataclass(frozen=True)
class RunState:
    """A run at one moment.

    Args:
        name: of its folder.
        status: whether it trains, and how it ended.
        why: the reason of an end that was none of its own; empty otherwise.
        history: its lines, oldest first.
        scores: of the test, by name, where it has ended with them.
        baselines: the same scores of untrained models, by name.
    """

    name: str
    status: Status
    why: str = ""
    history: Sequence[Mapping[str, Any]] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come, unless it is resumed."""
        return self.status in ENDS

    @property
    def words(self) -> str:
        """A sentence that says how it goes."""
        return f"{self.name} {WORDS[self.status]}{f': {self.why}' if self.why else ''}"

    @property
    def latest(self) -> Mapping[str, Any] | None:
        """The newest reading of the losses."""
        return next((line for line in reversed(self.history) if "losses" in line), None)

    @property
    def diagnoses(self) -> list[dict[str, Any]]:
        """What the doctor said, oldest first, each with ``epoch``, ``kind`` and ``text``."""
        return diagnoses(self)

    def validation(self) -> Mapping[str, Any] | None:
        """The newest validation."""
        found = validations(self)
        return found[-1] if found else None


def progress_facts(state: RunState) -> Iterator[tuple[str, str]]:
    """Epoch, update, loss and the newest validation score, as far as they are known."""
    latest, validation = state.latest, state.validation()
    if latest is not None:
        yield "epoch", f"{latest['epoch']:.2f}"
        yield "update", f"{latest['iteration']:,}"
        if "loss" in latest["losses"]:
            yield "loss", f"{latest['losses']['loss']:.4g}"
    if validation is not None and validation["scores"]:
        name, value = next(iter(validation["scores"].items()))
        yield f"{name}, {str(validation.get('of', '')).removesuffix(' classes')}", f"{100 * value:.1f} %"


def check_run(folder: Path) -> None:
    """Refuse what is no run's folder.

    Raises:
        MetricForgeError: says what is there instead, and which runs are near.
    """
    if not folder.exists():
        parent = folder.parent
        names = [path.name for path in parent.iterdir() if _is_run(path)] if parent.is_dir() else []
        near = get_close_matches(folder.name, names, n=3) or sorted(names)[:3]
        others = f"; there: {', '.join(str(parent / name) for name in near)}" if near else ""
        raise MetricForgeError(
            f"{folder}: there is no such folder{others}. `metricforge train` prints where its run is"
        )
    if not folder.is_dir():
        raise MetricForgeError(f"{folder}: is a file; name the folder of a run, such as {folder.parent}")
    if not _is_run(folder):
        inside = sorted(path.name for path in folder.iterdir() if _is_run(path))[:3]
        hint = f"; it has runs inside: {', '.join(str(folder / name) for name in inside)}" if inside else ""
        raise MetricForgeError(
            f"{folder}: is not the folder of a training, for it has neither {FILE_NAME} nor checkpoints, and no "
            f"training holds it{hint}"
        )


def read_state(folder: Path) -> RunState:
    """Read the run in ``folder``.

    Raises:
        MetricForgeError: if the folder is gone or cannot be read, or its history is damaged.
    """
    name = folder.resolve().name
    try:
        holds, history = holder(folder), read_history(folder)
        is_there = folder.is_dir()
    except ValueError as fault:
        raise MetricForgeError(str(fault)) from fault
    except OSError as fault:
        if folder.exists():
            raise MetricForgeError(f"{folder}: cannot be read: {fault}") from fault
        is_there = False
    if not is_there:
        raise MetricForgeError(f"{folder}: is no longer there; it was deleted or moved, or its disk has been unmounted")
    if holds == "alive":
        return RunState(name, "running" if history else "waiting", history=history)
    scores, baselines = _read_scores(folder)
    ended = next((line["ended"] for line in reversed(history) if "ended" in line), None)
    if history and "ended" not in history[-1] and not scores:
        ended = None  # it was resumed after that
    if ended is not None:
        return RunState(name, ended["how"], str(ended["why"]), history, scores, baselines)
    if scores:
        return RunState(name, "finished", "", history, scores, baselines)
    if holds == "gone" or history or checkpoint_files(folder):
        return RunState(name, "died", "", history)
    return RunState(name, "waiting", "", history)


def _is_run(folder: Path) -> bool:
    has_records = (folder / FILE_NAME).is_file() or bool(checkpoint_files(folder))
    return folder.is_dir() and (has_records or holder(folder) != "none")


def _read_scores(folder: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The scores of a run that has ended, and its baselines; empty where there are none yet."""
    try:
        content = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        return dict(content["scores"]), dict(content["protocol"].get("baselines") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}
