"""A run's folder that a test fills as a training would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metricforge.run_records.history import History


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of four readings, two validations and a sentence of the doctor's, without an end."""
    folder = tmp_path / "triplet_birds"
    folder.mkdir()
    history = History(folder)
    for update in (10, 20, 30, 40):
        history.add_losses(update, update / 20, [0.1 / update], {"loss": 8.0 / update, "loss/active": 0.5})
        history.add_values(update, update / 20, "diagnostics", {"gradient_norm": 100.0 / update})
        if update % 20 == 0:
            history.add_scores(update, update / 20, {"recall@1": update / 50, "nmi": 0.5}, "validation classes")
    history.add_diagnosis(40, 2.0, "margin", "The loss is stuck at [bold]<b>0.2</b>[/bold].", [])
    return folder


@pytest.fixture
def finish() -> Callable[..., None]:
    """Ends the run in a folder, with scores if it finishes."""
    return _finish


def _finish(folder: Path, how: str = "finished", why: str = "") -> None:
    history = History(folder)
    if how == "finished":
        history.add_scores(40, 2.0, {"recall@1": 0.75}, "test classes")
        protocol = {"baselines": {"raw pixels": {"recall@1": 0.25}}}
        (folder / "scores.json").write_text(json.dumps({"scores": {"recall@1": 0.75}, "protocol": protocol}))
    history.add_end(40, 2.0, how, why)
