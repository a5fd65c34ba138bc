"""``export_index``: an index for a vector database, whole or not at all."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from metricforge.errors import EmbeddingsError, MetricForgeError
from metricforge.index.databases.index_rows import IndexRows
from metricforge.index.search_index import SearchIndex

Target = Literal["qdrant", "lancedb", "pgvector"]
TARGETS: tuple[str, ...] = get_args(Target)
PACKAGES = {"qdrant": "qdrant_client", "lancedb": "lancedb"}
NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class ExportedIndex:
    """What was written.

    Args:
        target: the database.
        name: of the collection or table.
        images: how many there are.
        distance: "cosine", "l2" or "ip": the one that finds the model's neighbours.
        model: ``EmbeddingModel.hash``, which the database keeps too.
        query: how to search there, in one line.
    """

    target: str
    name: str
    images: int
    distance: str
    model: str
    query: str


def export_index(
    index: SearchIndex,
    to: Target,
    out: str | Path,
    *,
    name: str = "images",
    on_images: Callable[[int], object] = lambda count: None,
) -> ExportedIndex:
    """Write the images of ``index``, under their ids, for a vector database; killed in between, it leaves no ``out``.

    Args:
        index: what to write; the state that it has now.
        to: "qdrant": a local Qdrant's folder (extra ``[qdrant]``), "lancedb": a LanceDB folder (extra ``[lancedb]``),
            "pgvector": an SQL file, which ``psql -f`` loads into PostgreSQL.
        out: the folder or file, which does not exist yet.
        name: of the collection or table: letters, digits and underscores, at most 63.
        on_images: called with the number of images just written.

    Raises:
        EmbeddingsError: if ``out`` exists, for another ``to`` or ``name``, for an empty index, or for vectors or
            columns that the database cannot hold.
        MetricForgeError: if the extra is not installed.
    """
    out = Path(out)
    if to not in TARGETS:
        raise EmbeddingsError(f"--to must be one of {', '.join(TARGETS)}, got {to!r}")
    if not NAMED.fullmatch(name):
        raise EmbeddingsError(
            "--name must have at most 63 letters (a-z), digits and underscores, and not begin with a digit; got "
            f"{name!r}"
        )
    if out.exists() or out.is_symlink():
        raise EmbeddingsError(f"{out} already exists and is not overwritten; name another --out, or remove it")
    package = PACKAGES.get(to)
    if package is not None and find_spec(package) is None:
        raise MetricForgeError(f"--to {to} needs the package {package}: pip install 'metricforge[{to}]'")
    rows = IndexRows.of(index)
    if not len(rows):
        raise EmbeddingsError(f"{index.path} has no images to export; add some with metricforge index add")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        written = Path(folder) / out.name
        # found by its name, so that a database is imported only by those who export to it
        query = import_module(f"metricforge.index.databases.{to}_target").write(rows, written, name, on_images)
        written.rename(out)
    return ExportedIndex(to, name, len(rows), rows.distance, rows.about["metricforge_model"], query)
