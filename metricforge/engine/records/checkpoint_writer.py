"""Writes checkpoints while training goes on, and says in one line what keeps it from it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from metricforge.disk_errors import disk_failure
from metricforge.engine.records.checkpoints import save_checkpoint
from metricforge.errors import CheckpointError
from metricforge.run_records.checkpoint_files import checkpoint_files

OnError = Literal["stop", "warn"]
Save = Callable[[Mapping[str, Any], Path, Callable[[], None]], None]


class CheckpointWriter:
    """Copies what is to be saved to the host, and writes it in a thread; one file at a time.

    Args:
        background: whether ``write`` returns once the copy is made; otherwise once the file is on the disk.
        on_error: what a disk that takes no file leads to: "stop" raises, "warn" says it and goes on.
        say: prints a line.
        save: writes what was copied to a path, and does what is to follow; None: into one file.
    """

    def __init__(
        self, *, background: bool, on_error: OnError, say: Callable[[str], None], save: Save | None = None
    ) -> None:
        self._save = save or _save_in_one_file
        self.in_shards = save is not None
        self._background = background
        self.on_error = on_error
        self._say = say
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._path = Path()
        # the copy before, into which the next goes: new memory would take as long to get as to fill
        self._copies: dict[tuple[Any, ...], Tensor] = {}

    def write(self, checkpoint: Mapping[str, Any], path: Path, then: Callable[[], None]) -> None:
        """Write ``checkpoint`` to ``path``, and do ``then``; the file before is finished first.

        Raises:
            CheckpointError: where a file could not be written, this one or the one before, if that is to end training.
        """
        self.finish()
        self._path = path
        if not self._background:
            self._write(checkpoint, path, then)
            self.finish()
            return
        copies: dict[tuple[Any, ...], Tensor] = {}
        copy = _copied(checkpoint, (), self._copies, copies)
        self._copies = copies
        self._thread = threading.Thread(target=self._write, args=(copy, path, then), name="checkpoint")
        self._thread.start()

    def finish(self) -> None:
        """Wait for the file that is being written.

        Raises:
            CheckpointError: if it could not be, and that is to end training.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is None:
            return
        reason = disk_failure(failure)
        if reason is None:
            raise failure
        message = f"{self._path} cannot be written: {reason}; {_what_stays(self._path.parent)}"
        if self.on_error == "stop":
            way_out = 'make room and go on with --resume, or train on without: checkpoint.on_error="warn"'
            raise CheckpointError(f"{message}; {way_out}") from failure
        self._say(f"{message}; training goes on, and the next checkpoint tries again")

    def _write(self, checkpoint: Mapping[str, Any], path: Path, then: Callable[[], None]) -> None:
        try:
            self._save(checkpoint, path, then)
        except Exception as error:  # it is raised, or said, in the main thread
            self._failure = error


def _save_in_one_file(checkpoint: Mapping[str, Any], path: Path, then: Callable[[], None]) -> None:
    if not path.parent.is_dir():  # it was there when the run began, and is not to be made anew unnoticed
        raise FileNotFoundError(errno.ENOENT, "the folder has vanished", str(path.parent))
    save_checkpoint(checkpoint, path)
    then()


def _what_stays(folder: Path) -> str:
    whole = checkpoint_files(folder)
    return f"{whole[0].name} is whole and stays" if whole else "there is no earlier one"


def _copied(
    value: Any, place: tuple[Any, ...], before: Mapping[tuple[Any, ...], Tensor], copies: dict[tuple[Any, ...], Tensor]
) -> Any:
    """``value`` with its tensors copied to the host, into those of ``before`` at the same place if they fit."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        value = value.detach()
        if value.is_sparse:
            return value.cpu().clone()
        known = before.get(place)
        if known is None or known.shape != value.shape or known.dtype != value.dtype:
            known = torch.empty_like(value, device="cpu", memory_format=torch.preserve_format)
        copies[place] = known.copy_(value)
        return known
    if isinstance(value, Mapping):
        return {key: _copied(item, (*place, key), before, copies) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, (*place, number), before, copies) for number, item in enumerate(value))
    return value
