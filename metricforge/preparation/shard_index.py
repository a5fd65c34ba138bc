"""The index of tar shards: where in which shard each image lies, and its label."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
from pyarrow import parquet

from metricforge.datasets.image_folder_dataset import SUFFIXES
from metricforge.datasets.shard_part import ShardPart
from metricforge.errors import DatasetError


def index_shards(
    shards: Sequence[str], out: Path, json_key: str | None = None, on_shard: Callable[[], object] = lambda: None
) -> int:
    """Writes a Parquet table with the columns path and label for ``ShardDataset``, and returns its number of images.

    In WebDataset's layout the files of a sample have one name and follow each other: the image (17.jpg) and its class,
    as a number or a name in 17.cls, or within 17.json.

    Args:
        shards: tar files, uncompressed: paths, or URLs that fsspec reads.
        out: the table, ending in .parquet; paths are written relative to its folder. It gets its name when it is whole.
        json_key: what the class is called in the .json files; None: it is in the .cls files.
        on_shard: called after each shard.

    Raises:
        DatasetError: for a shard that is absent, compressed or damaged, an image without a class, a class without an
            image, or an image that comes twice.
    """
    if out.suffix != ".parquet":
        raise DatasetError(f"--out {out}: must end in .parquet")
    paths: list[str] = []
    labels: list[str] = []
    place: dict[str, int] = {}
    for shard in shards:
        written = shard if "://" in shard else Path(os.path.relpath(shard, out.parent)).as_posix()
        for part, label in _samples(shard, written, json_key):
            if part.name in place:
                raise DatasetError(
                    f"{part.name} of {shard}, with the label {label}, comes a second time: before it was "
                    f"{paths[place[part.name]]} with the label {labels[place[part.name]]}; keep one of them"
                )
            place[part.name] = len(paths)
            paths.append(str(part))
            labels.append(label)
        on_shard()
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        columns = {"path": pa.array(paths, pa.large_string()), "label": pa.array(labels, pa.large_string())}
        parquet.write_table(pa.table(columns), unfinished)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(paths)


def _samples(shard: str, written: str, json_key: str | None) -> Iterator[tuple[ShardPart, str]]:
    holder = ".cls" if json_key is None else ".json"
    images: dict[str, ShardPart] = {}
    classes: dict[str, str] = {}
    try:
        with fsspec.open(shard, "rb") as content, tarfile.open(fileobj=content, mode="r:") as tar:
            for member in tar:
                stem, suffix = _split_name(member.name)
                if member.isfile() and suffix in SUFFIXES:
                    if stem in images:
                        raise DatasetError(f"{shard} holds the image {member.name} a second time, or in two formats")
                    images[stem] = ShardPart(written, member.offset_data, member.size, member.name)
                elif member.isfile() and suffix == holder:
                    file = tar.extractfile(member)
                    assert file is not None
                    classes[stem] = _class_in(file.read(), json_key, f"{member.name} of {shard}")
    except (OSError, tarfile.TarError, EOFError) as fault:
        raise DatasetError(
            f"{shard} cannot be read as an uncompressed tar ({type(fault).__name__}: {fault}); fetch it again, or "
            "unpack its compression"
        ) from fault
    lonely = sorted(images.keys() ^ classes.keys())
    if lonely:
        lacks = holder if lonely[0] in images else "image"
        raise DatasetError(
            f"{len(lonely):,} of {len(images.keys() | classes.keys()):,} samples of {shard} lack their image or their "
            f"{holder}, such as {lonely[0]}, which has no {lacks}"
            + ("; if the classes are in .json files, name their key: --json-key label" if json_key is None else "")
        )
    for stem, part in images.items():
        yield part, classes[stem]


def _split_name(name: str) -> tuple[str, str]:
    """What the files of a sample have in common, and the rest: up to the first dot of the file's own name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def _class_in(content: bytes, json_key: str | None, where: str) -> str:
    try:
        text: Any = content.decode("utf-8").strip()
        if json_key is not None:
            text = json.loads(text)[json_key]
    except (ValueError, KeyError, TypeError) as fault:
        raise DatasetError(f"{where} holds no class ({type(fault).__name__}: {fault})") from fault
    if text in ("", None):
        raise DatasetError(f"{where} holds no class: it is empty")
    return str(text)
