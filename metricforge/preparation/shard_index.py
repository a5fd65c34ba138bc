"""The index of tar shards: where in which shard each image lies, and its label."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from metricforge.atomic_write import atomic_write
from metricforge.datasets.folders.walk_images import SUFFIXES
from metricforge.datasets.shards.shard_part import HEADER, ShardPart
from metricforge.datasets.shards.shard_reader import is_remote
from metricforge.errors import DatasetError

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"


class IndexedShards(NamedTuple):
    """What is in an index, and how many samples were left out of it."""

    images: int
    classes: int
    left_out: int


def expand_shards(shards: Sequence[str]) -> list[str]:
    """``shards``, with those in place of a URL with a ``*`` that it stands for, in the order of their names.

    Raises:
        DatasetError: if it stands for none, or its folder cannot be listed.
    """
    return [found for shard in shards for found in (_matching(shard) if is_remote(shard) and "*" in shard else [shard])]


def _matching(pattern: str) -> list[str]:
    try:
        files = sorted(file.full_name for file in fsspec.open_files(pattern, "rb"))
    except Exception as fault:  # the clients below fsspec have no error in common
        raise _unreadable(pattern, fault) from fault
    if not files:
        raise DatasetError(f"no shard matches {pattern}; check the name, or list the shards one by one")
    return files


def index_shards(
    shards: Sequence[str],
    out: Path,
    json_key: str | None = None,
    on_shard: Callable[[], object] = lambda: None,
    *,
    folder_labels: bool = False,
    skip_incomplete: bool = False,
) -> IndexedShards:
    """Write a Parquet table with the columns path and label for ``ShardDataset``, and says how many there are.

    In WebDataset's layout the files of a sample have one name and follow each other: the image (17.jpg) and its class,
    as a number or a name in 17.cls, or within 17.json.

    Args:
        shards: tar files, uncompressed: paths, or URLs that fsspec reads.
        out: the table, ending in .parquet; paths are written relative to its folder. It gets its name when it is whole.
        json_key: what the class is called in the .json files, with dots where it lies within others; None: it is in
            the .cls files.
        on_shard: called after each shard.
        folder_labels: the class is the folder that an image's name begins with, instead.
        skip_incomplete: leave out images without a class and classes without an image, instead of an error.

    Raises:
        DatasetError: for a shard that is absent, compressed, damaged or cut off, holds no image or is not called .tar;
            an image without a class, a class without an image, an image that comes twice; an index that cannot be
            written.
    """
    assert json_key is None or not folder_labels
    if out.suffix != ".parquet":
        raise DatasetError(f"--out {out}: must end in .parquet")
    paths: list[str] = []
    labels: list[str] = []
    place: dict[str, int] = {}
    left_out = 0
    for shard in shards:
        written = shard if is_remote(shard) else Path(os.path.relpath(shard, out.parent)).as_posix()
        samples, incomplete = _samples(shard, written, json_key, folder_labels, skip_incomplete)
        left_out += incomplete
        for part, label in samples:
            if part.name in place:
                raise DatasetError(
                    f"{part.name} of {shard}, with the label {label}, comes a second time: before it was "
                    f"{paths[place[part.name]]} with the label {labels[place[part.name]]}; keep one of them"
                )
            place[part.name] = len(paths)
            paths.append(str(part))
            labels.append(label)
        on_shard()
    if not paths:
        raise DatasetError(f"none of {left_out:,} samples has both an image and a class, so there is nothing to list")
    label_column = pa.array(labels, pa.large_string())
    if pc.all(pc.match_substring_regex(label_column, _WHOLE_NUMBER)).as_py():
        label_column = label_column.cast(pa.int64())  # class 9 comes before class 10
    table = pa.table({"path": pa.array(paths, pa.large_string()), "label": label_column})
    try:
        with atomic_write(out) as file:
            parquet.write_table(table, file)
    except OSError as fault:
        raise DatasetError(f"--out {out} cannot be written ({fault}); free some space, or name another file") from fault
    return IndexedShards(len(paths), len(set(labels)), left_out)


def _samples(
    shard: str, written: str, json_key: str | None, folder_labels: bool, skip_incomplete: bool
) -> tuple[list[tuple[ShardPart, str]], int]:
    """The images of a shard with their labels, and how many samples were left out."""
    if not shard.endswith(".tar"):
        raise DatasetError(f"{shard} must be called .tar: name the shards themselves, such as shards/*.tar")
    holder = ".cls" if json_key is None else ".json"
    images: dict[str, ShardPart] = {}
    classes: dict[str, str] = {}
    try:
        with fsspec.open(shard, "rb") as content:
            _refuse_packed(content, shard)
            with tarfile.open(fileobj=content, mode="r:") as tar:
                for member in tar:
                    stem, suffix = _split_name(member.name)
                    if not member.isreg() or member.issparse() or stem.rpartition("/")[2] == "":  # also hidden files
                        continue
                    if suffix in SUFFIXES:
                        if stem in images:
                            raise DatasetError(_two_images(shard, stem, images[stem].name, member.name))
                        images[stem] = ShardPart(written, member.offset_data, member.size, member.name)
                        if folder_labels:
                            classes[stem] = _folder_of(stem, shard)
                    elif suffix == holder and not folder_labels:
                        if stem in classes:
                            raise DatasetError(f"{shard} holds {member.name} twice; give each sample a name of its own")
                        file = tar.extractfile(member)
                        assert file is not None
                        classes[stem] = _class_in(file.read(), json_key, f"{member.name} of {shard}")
                _refuse_open_end(content, tar.offset, shard)
    except DatasetError:
        raise
    except FileNotFoundError as fault:
        raise DatasetError(f"the shard {shard} does not exist; check its name") from fault
    except tarfile.TarError as fault:
        raise DatasetError(
            f"{shard} is not a tar file, or is truncated or damaged ({fault}); fetch or pack it again"
        ) from fault
    except Exception as fault:  # the clients below fsspec have no error in common
        raise _unreadable(shard, fault) from fault
    if not images:
        raise DatasetError(
            f"{shard} holds no image: no file is called as WebDataset's samples are, such as 17.jpg "
            f"({', '.join(SUFFIXES)}); leave it out, or pack it again"
        )
    lonely = sorted(images.keys() ^ classes.keys())
    if lonely and not skip_incomplete:
        lacks = holder if lonely[0] in images else "image"
        raise DatasetError(
            f"{len(lonely):,} of {len(images.keys() | classes.keys()):,} samples of {shard} lack their image or their "
            f"{holder}, such as {lonely[0]}, which has no {lacks}; leave such samples out (--skip-incomplete)"
            + (
                ", or if the classes are elsewhere, say so: --json-key label, --folder-labels"
                if json_key is None
                else ", or name where the classes are, if elsewhere"
            )
        )
    return [(part, classes[stem]) for stem, part in images.items() if stem in classes], len(lonely)


def _unreadable(shard: str, fault: Exception) -> DatasetError:
    advice = "install the package that it names" if isinstance(fault, ImportError) else "see that it can be read"
    return DatasetError(f"{shard} cannot be read ({type(fault).__name__}: {fault}); {advice}")


def _refuse_packed(content: BinaryIO, shard: str) -> None:
    start = content.read(8)
    content.seek(0)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise DatasetError(
                f"{shard} is compressed ({name}), and no image can be read from its middle; decompress it: images "
                "hardly shrink anyway"
            )


def _refuse_open_end(content: BinaryIO, end: int, shard: str) -> None:
    # tarfile takes a file that is truncated between two members, or has a damaged header there, for a complete one
    content.seek(end)
    block = content.read(HEADER)
    if len(block) < HEADER:
        raise DatasetError(
            f"{shard} is truncated: it lacks tar's end mark; copy it again, or close its writer and pack it again"
        )
    if any(block):
        raise DatasetError(
            f"{shard} is damaged: at byte {end:,} there is neither a file nor tar's end mark; fetch or pack it again"
        )


def _two_images(shard: str, stem: str, first: str, second: str) -> str:
    return (
        f"{shard} holds two images of the sample {stem}, {first} and {second}; give each a name of its own: a sample's "
        "name ends at the first dot"
    )


def _folder_of(stem: str, shard: str) -> str:
    folder, slash, _ = stem.removeprefix("./").lstrip("/").partition("/")
    if not slash:
        raise DatasetError(f"{shard}: {stem} lies in no folder that could be its class; leave --folder-labels out")
    return folder


def _split_name(name: str) -> tuple[str, str]:
    """What the files of a sample have in common, and the rest: up to the first dot of the file's own name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def _class_in(content: bytes, json_key: str | None, where: str) -> str:
    try:
        text = content.decode("utf-8").strip()
        found: Any = text if json_key is None else json.loads(text)
    except ValueError as fault:
        raise DatasetError(f"{where} holds no class ({type(fault).__name__}: {fault}); correct it") from fault
    for name in json_key.split(".") if json_key is not None else ():
        if not isinstance(found, dict) or name not in found:
            there = f"its keys are {', '.join(found)}" if isinstance(found, dict) else f"it holds {found!r}"
            raise DatasetError(f"{where} holds no class: there is no {json_key!r}, {there}; name it: --json-key KEY")
        found = found[name]
    if found in ("", None):
        raise DatasetError(f"{where} holds no class: it is empty; fill it in")
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise DatasetError(f"{where} holds no class: {json_key!r} must be text or a whole number, it is {found!r}")
    return str(found)
