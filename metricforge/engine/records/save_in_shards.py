"""Writes a checkpoint in shards: every process its own rows, process 0 the rest once all rows are on the disk."""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from metricforge.disk_errors import disk_error
from metricforge.engine.records.checkpoints import save_checkpoint, to_plain
from metricforge.engine.records.sealed_file import digest_of, write_sealed
from metricforge.engine.records.shard_files import SHARDS, Place, shard_name
from metricforge.errors import CheckpointError


@dataclass(frozen=True)
class SaveInShards:
    """Saves what all processes hold; each calls it with its own rows, as often and in the same order as the others.

    The checkpoint itself is written last, and until then nothing names the rows: a kill leaves the one before.

    Args:
        rank: of this process.
        count: of processes.
        gather: gives the value of each process on all of them. It is called beside training, in another thread.
    """

    rank: int
    count: int
    gather: Callable[[Any], list[Any]]

    def __call__(self, content: Mapping[str, Any], path: Path, then: Callable[[], None]) -> None:
        """Write the ``rows`` of ``content``, and on process 0 its ``rest`` to ``path``, and do ``then`` there.

        Raises:
            OSError: on all processes, if the disk of one does not take its file.
            CheckpointError: if anything else keeps one from writing it.
        """
        name = self.gather(f"{path.stem}-{uuid.uuid4().hex[:8]}")[0]
        folder = path.parent / SHARDS / name
        try:
            written = self._of_all(lambda: self._write_rows(to_plain(content["rows"]), folder), path)
            self._of_all(lambda: self._write_rest(content["rest"], written, folder, path, then), path)
        except (OSError, CheckpointError):
            if self.rank == 0:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def _write_rows(self, rows: Mapping[Place, Tensor], folder: Path) -> dict[str, Any]:
        if not folder.parents[1].is_dir():  # it was there when the run began, and is not to be made anew unnoticed
            raise FileNotFoundError(errno.ENOENT, "the folder has vanished", str(folder.parents[1]))
        file = folder / shard_name(self.rank, self.count)
        write_sealed(rows, file)
        with file.open("rb") as sealed:
            return {"digest": digest_of(sealed), "shapes": {place: tuple(its.shape) for place, its in rows.items()}}

    def _write_rest(
        self,
        rest: Mapping[str, Any],
        written: Sequence[Mapping[str, Any]],
        folder: Path,
        path: Path,
        then: Callable[[], None],
    ) -> None:
        if self.rank:
            return
        for rank in range(self.count):
            if not (folder / shard_name(rank, self.count)).is_file():
                raise CheckpointError(
                    f"{path}: process {rank} wrote its rows into {folder}, which process 0 does not see; "
                    "checkpoint.sharded needs a folder that all machines share, or leave it out"
                )
        shapes = [its["shapes"] for its in written]
        rows = {
            place: ([its[place][0] for its in shapes], (sum(its[place][0] for its in shapes), *shape[1:]))
            for place, shape in shapes[0].items()
        }
        index = {"folder": folder.name, "digests": [its["digest"] for its in written], "rows": rows}
        save_checkpoint({**rest, SHARDS: index}, path)
        then()

    def _of_all(self, action: Callable[[], Any], path: Path) -> list[Any]:
        """What ``action`` gives on each process; where it raised on one, every process raises that."""
        cause = None
        try:
            outcome = action()
        except Exception as error:  # the others are told, and raise it as well
            cause, outcome = error, _failure(error)
        told = self.gather(outcome)
        for rank, its in enumerate(told):
            if isinstance(its, _Failure) and its.number is not None:
                raise OSError(its.number, f"{its.text} (process {rank})", str(path)) from cause
            if isinstance(its, _Failure):
                raise CheckpointError(f"{path}: process {rank} cannot write it: {its.text}") from cause
        return told


@dataclass(frozen=True)
class _Failure:
    """Why a process could not write; ``number`` is that of its disk's error."""

    text: str
    number: int | None = None


def _failure(error: Exception) -> _Failure:
    refused = disk_error(error)
    if refused is None:
        return _Failure(str(error) or type(error).__name__)
    return _Failure(refused.strerror or str(refused), refused.errno)
