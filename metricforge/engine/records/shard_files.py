"""Checkpoints in shards: each process has written its rows into a file of its own, and any number of them reads these.

``iter_6.pth`` then holds the rest, and names the folder ``shards/iter_6-1f0c2a3b`` beside it, in which ``0-of-2.pth``
has the rows of process 0, with the checksum of each such file. torch.distributed.checkpoint has a format for this whose
index and plain values are read by pickle, which runs whatever is in them; these files are read as any checkpoint.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metricforge.engine.records.sealed_file import digest_of, is_as_written, is_sealed
from metricforge.errors import CheckpointError
from metricforge.torch_archives import refuse_compressed

SHARDS = "shards"
Place = tuple[str | int, ...]  # where a tensor is in a checkpoint: ("optimizer", "state", 3, "exp_avg")


def shard_name(rank: int, count: int) -> str:
    """The file of process ``rank`` of ``count``."""
    return f"{rank}-of-{count}.pth"


@dataclass(frozen=True)
class ShardFile:
    """The rows that one process had, in ``path``; ``digest`` is what the checkpoint says of them."""

    path: Path
    digest: str

    def check(self) -> None:
        """Read the file once.

        Raises:
            CheckpointError: if it is absent, or any byte is not as it was written with the checkpoint.
        """
        try:
            with self.path.open("rb") as file:
                if not is_sealed(file) or not is_as_written(file) or digest_of(file) != self.digest:
                    raise CheckpointError(f"{self.path}: is damaged or was changed after it was written")
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.path}: is absent, and the checkpoint's weights are in it; keep the folder {SHARDS!r} beside it"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read ({error})") from error

    @cached_property
    def rows(self) -> Mapping[Place, Tensor]:
        """The rows of each tensor, once the file is found whole; they stay on the disk until they are used."""
        self.check()
        try:
            refuse_compressed(self.path)
            content = torch.load(str(self.path), map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # a damaged file makes torch raise whatever its bytes lead to
            raise CheckpointError(f"{self.path}: holds no rows of tensors ({type(error).__name__})") from error
        if not isinstance(content, dict) or not all(isinstance(rows, Tensor) for rows in content.values()):
            raise CheckpointError(f"{self.path}: holds no rows of tensors")
        return content


@dataclass(frozen=True)
class RowsInShards:
    """A tensor of ``shape`` at ``place`` of a checkpoint; ``counts`` tells how many of its rows each file has."""

    files: Sequence[ShardFile]
    place: Place
    counts: Sequence[int]
    shape: Sequence[int]

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, last: int) -> Tensor:
        """Read the rows from ``first`` to before ``last``, from those files alone that have any of them.

        Raises:
            CheckpointError: if such a file is absent or damaged.
        """
        pieces, start = [], 0
        for file, count in zip(self.files, self.counts, strict=True):
            low, high = max(first - start, 0), min(last - start, count)
            if low < high:
                rows = file.rows.get(self.place)
                if rows is None or rows.shape != (count, *self.shape[1:]):
                    raise CheckpointError(f"{file.path}: does not hold {count} rows of {self.place[-1]!r}")
                pieces.append(rows.index_select(0, torch.arange(low, high)))
            start += count
        if not pieces:  # of no rows only the kind has to be right
            return self.files[0].rows[self.place][:0]
        return torch.cat(pieces)


def find_rows(checkpoint: dict[str, Any], path: Path) -> None:
    """Put a ``RowsInShards`` wherever the files beside ``path`` hold the rows of its ``checkpoint``.

    Raises:
        CheckpointError: if what it says of them makes no sense.
    """
    index = checkpoint.pop(SHARDS, None)
    if index is None:
        return
    try:
        if re.fullmatch(r"[\w-]+", index["folder"]) is None:
            raise ValueError
        digests, folder = index["digests"], path.parent / SHARDS / index["folder"]
        files = [ShardFile(folder / shard_name(rank, len(digests)), digest) for rank, digest in enumerate(digests)]
        for place, (counts, shape) in index["rows"].items():
            if len(counts) != len(files) or sum(counts) != shape[0] or min(*counts, 0) < 0:
                raise ValueError
            holder = checkpoint
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = RowsInShards(files, place, tuple(counts), tuple(shape))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{path}: does not say which of its rows are in which file") from error


def check_shards(checkpoint: Mapping[str, Any]) -> None:
    """Read every file of shards that ``checkpoint`` needs.

    Raises:
        CheckpointError: names one that is absent or damaged.
    """
    for file in {file.path: file for rows in _rows_in(checkpoint) for file in rows.files}.values():
        file.check()


def read_whole(value: Any) -> Any:
    """Read all rows of what lies in shards within ``value``; anything else stays as it is."""
    if isinstance(value, RowsInShards):
        return value.read(0, len(value))
    if isinstance(value, dict):
        return {key: read_whole(item) for key, item in value.items()}
    return value


def forget_shards(folder: Path) -> None:
    """Remove those in the run's ``folder`` that no checkpoint there names, as a killed process leaves them."""
    if not (folder / SHARDS).is_dir():
        return
    named, unknown = set(), []
    for checkpoint in (*folder.glob("iter_*.pth"), *folder.glob("best.pth")):
        try:
            named.add(_folder_named_by(checkpoint))
        except CheckpointError:
            unknown.append(checkpoint.stem)
    for shards in (folder / SHARDS).iterdir():
        if shards.name not in named and shards.name.rpartition("-")[0] not in unknown:
            shutil.rmtree(shards, ignore_errors=True)


def copy_checkpoint(path: Path, folder: Path) -> None:
    """Copy a checkpoint, with its shards if it has any, into ``folder``."""
    shutil.copy2(path, folder)
    name = _folder_named_by(path)
    if name is not None:
        shutil.copytree(path.parent / SHARDS / name, folder / SHARDS / name)


def _folder_named_by(path: Path) -> str | None:
    """The folder of shards that the checkpoint ``path`` names, without reading its tensors; None: it has none."""
    try:
        refuse_compressed(path)
        name = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True).get(SHARDS, {}).get("folder")
    except Exception as error:  # a damaged file makes torch raise whatever its bytes lead to
        raise CheckpointError(f"{path}: is damaged") from error
    return name if isinstance(name, str) else None


def _rows_in(value: Any) -> Iterator[RowsInShards]:
    if isinstance(value, RowsInShards):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _rows_in(item)
