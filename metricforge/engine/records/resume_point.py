"""Where a run is taken up, and with what changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricforge.engine.records.checkpoints import check_state_of_run, checkpoint_files, load_checkpoint
from metricforge.engine.records.config_changes import (
    BATCHES,
    TEST_IMAGES,
    TRAIN_IMAGES,
    Changes,
    check_changes,
    find_changes,
)
from metricforge.errors import CheckpointError


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint ``path`` to go on from, the ``changes`` since it, and ``notes`` for whoever resumes."""

    path: Path
    changes: Changes
    notes: tuple[str, ...]


def find_resume_point(folder: Path, settings: Mapping[str, Any], *, allow_changes: bool) -> ResumePoint:
    """The newest checkpoint in ``folder`` that loads, compared with the ``settings`` of now.

    Args:
        folder: the run's.
        settings: those of ``run_settings``.
        allow_changes: whether the run may go on as another.

    Raises:
        CheckpointError: if none loads, or for changes that are not allowed.
    """
    files = checkpoint_files(folder)
    notes = []
    for path in files:
        try:
            checkpoint = load_checkpoint(path)
            check_state_of_run(checkpoint, path)
        except CheckpointError as error:
            notes.append(f"cannot resume from {error}; falling back to the checkpoint before it")
            continue
        changes = find_changes(checkpoint["meta"]["settings"], settings)
        check_changes(changes, str(path), allowed=allow_changes)
        return ResumePoint(path, changes, tuple(notes))
    tried = f"none of its {len(files)} checkpoints loads" if files else "it holds no checkpoint"
    said = "".join(f"\n  {note}" for note in notes)
    raise CheckpointError(f"cannot resume {folder}: {tried}; train without --resume, or name another --work-dir{said}")


def run_settings(
    settings: Mapping[str, Any], train_images: str, test_images: str, batches_per_epoch: int
) -> dict[str, Any]:
    """The ``settings`` of a config with what else makes a run this run: its images, by fingerprint, and its batches."""
    found = {TRAIN_IMAGES: train_images, TEST_IMAGES: test_images, BATCHES: batches_per_epoch}
    return {**settings, **found}
