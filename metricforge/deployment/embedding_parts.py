"""The embeddings of a collection as Parquet parts, each of which records what made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from metricforge.arrays import Floats32, Indices
from metricforge.atomic_write import atomic_write
from metricforge.errors import EmbeddingsError

KEY = b"metricforge"
PATTERN = "part-*.parquet"


@dataclass(frozen=True)
class Origin:
    """What made a part; the same for all parts of a folder.

    Args:
        model: ``EmbeddingModel.hash``.
        dim: D.
        similarity: how the vectors are compared, such as "CosineSimilarity".
        precision: how they were computed, such as "float32" or "bfloat16".
        source: digest of the collection's paths, in their order.
        rows: N, the images of the collection.
        part_rows: images per part; the last one may have fewer.
    """

    model: str
    dim: int
    similarity: str
    precision: str
    source: str
    rows: int
    part_rows: int

    @property
    def parts(self) -> int:
        """The number of parts of the whole collection."""
        return -(-self.rows // self.part_rows)

    def rows_of(self, number: int) -> range:
        """The positions in the collection of the images of part ``number``."""
        return range(number * self.part_rows, min(self.rows, (number + 1) * self.part_rows))


def part_path(folder: Path, number: int) -> Path:
    """The file of part ``number``."""
    return folder / f"part-{number:06d}.parquet"


def write_part(
    folder: Path,
    number: int,
    origin: Origin,
    ids: Indices,
    columns: pa.Table,
    vectors: Floats32,
    unreadable: Sequence[tuple[str, str]],
) -> None:
    """Write one part atomically.

    Args:
        folder: of all parts.
        number: which part.
        origin: what made it.
        ids: the positions (n,) in the collection of the images that could be read.
        columns: what is known of each (n rows), ``path`` and maybe ``label``.
        vectors: their embeddings (n, D).
        unreadable: path and fault of each image of the part that could not be read.
    """
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    table = pa.table({"id": pa.array(ids), **{name: columns[name] for name in columns.column_names}, "vector": lists})
    recorded = json.dumps({**asdict(origin), "unreadable": list(unreadable)})
    with atomic_write(part_path(folder, number)) as file:
        parquet.write_table(table.replace_schema_metadata({KEY: recorded.encode()}), file)


def read_origin(path: Path) -> tuple[Origin, list[tuple[str, str]]]:
    """Read what made the part at ``path``, and which of its images could not be read.

    Raises:
        EmbeddingsError: if it is not a part.
    """
    try:
        recorded = json.loads((parquet.read_schema(path).metadata or {})[KEY])
        unreadable = [(str(image), str(fault)) for image, fault in recorded.pop("unreadable")]
        return Origin(**recorded), unreadable
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as fault:
        raise EmbeddingsError(
            f"{path} was not written by `metricforge embed`, or is damaged ({type(fault).__name__}); remove it and "
            "embed again"
        ) from fault


def finished_parts(folder: Path, origin: Origin, *, whole: bool = False) -> set[int]:
    """Return the numbers of the finished parts in ``folder``; of ``whole`` ones, which had no unreadable image, alone.

    Raises:
        EmbeddingsError: if one of them has another origin: another model, other images or another size of parts.
    """
    done = set()
    for path in sorted(folder.glob(PATTERN)):
        found, unreadable = read_origin(path)
        differences = [
            f"{name} {getattr(found, name)!r} instead of {value!r}"
            for name, value in asdict(origin).items()
            if getattr(found, name) != value
        ]
        if differences:
            raise EmbeddingsError(
                f"{folder} holds embeddings from another source: {path.name} has {', '.join(differences)}; "
                "name another --out, or remove the folder"
            )
        if not (whole and unreadable):
            done.add(int(path.stem.removeprefix("part-")))
    return done


def read_parts(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the parts of ``folder`` as tables, in the order of the collection.

    Raises:
        EmbeddingsError: as ``complete_parts``.
    """
    for path in complete_parts(folder):
        yield parquet.read_table(path, columns=None if columns is None else list(columns))


def complete_parts(folder: Path) -> list[Path]:
    """Return the parts of ``folder``, in the order of the collection.

    Raises:
        EmbeddingsError: if there is none, one is missing, or they do not belong together.
    """
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise EmbeddingsError(
            f"{folder} holds no embeddings; `metricforge embed MODEL SOURCE --out {folder}` writes them"
        )
    origin, _ = read_origin(paths[0])
    done = finished_parts(folder, origin)
    missing = sorted(set(range(origin.parts)) - done)
    if missing:
        raise EmbeddingsError(
            f"{folder}: {len(missing):,} of {origin.parts:,} parts are missing (part {missing[0]} first); "
            "repeat the `metricforge embed` command to complete them"
        )
    return paths


def vectors_of(table: pa.Table) -> Floats32:
    """Return the vectors (n, D) of a part."""
    lists = table["vector"].combine_chunks()
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(table), lists.type.list_size)
