"""Finds the checkpoint that a run resumes from, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricforge.engine.records.checkpoints import check_state_of_run, open_checkpoint
from metricforge.engine.records.config_changes import (
    BATCHES,
    TEST_IMAGES,
    TRAIN_IMAGES,
    Changes,
    check_changes,
    find_changes,
)
from metricforge.engine.records.shard_files import check_shards
from metricforge.errors import CheckpointError
from metricforge.run_records.checkpoint_files import checkpoint_files


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint ``path`` to resume from, the ``changes`` since then, and ``notes`` to print."""

    path: Path
    changes: Changes
    notes: tuple[str, ...]


def find_resume_point(folder: Path, settings: Mapping[str, Any], *, allow_changes: bool) -> ResumePoint:
    """Find the newest checkpoint in ``folder`` that loads, and compare it with the current ``settings``.

    Args:
        folder: the run's.
        settings: those of ``run_settings``.
        allow_changes: whether the run may continue with other settings.

    Raises:
        CheckpointError: if none loads, or for changes that are not allowed.
    """
    files = checkpoint_files(folder)
    notes = []
    for path in files:
        try:
            checkpoint, _ = open_checkpoint(path)
            check_state_of_run(checkpoint, path)
            check_shards(checkpoint)
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
    """Return the ``settings`` of a config together with the run's images, by fingerprint, and its number of batches."""
    found = {TRAIN_IMAGES: train_images, TEST_IMAGES: test_images, BATCHES: batches_per_epoch}
    return {**settings, **found}
