"""The embeddings that ``metricforge embed`` wrote, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from metricforge.arrays import Floats32
from metricforge.deployment.embedding_parts import PATTERN, complete_parts, read_origin, vectors_of
from metricforge.errors import EmbeddingsError


class StoredEmbeddings:
    """The rows of all parts in a folder, counted through in the order of the collection.

    Args:
        folder: of the parts.

    Raises:
        EmbeddingsError: if there are no parts, one is missing, or they do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = complete_parts(folder)
        self.origin = read_origin(self._paths[0])[0]
        counts = [parquet.read_metadata(path).num_rows for path in self._paths]
        self._starts = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def check_model(self, model_hash: str, source: str) -> None:
        """Check that the model with ``model_hash``, from ``source``, made them.

        Raises:
            EmbeddingsError: if another one did.
        """
        if self.origin.model != model_hash:
            raise EmbeddingsError(
                f"{self.folder} holds embeddings of model {self.origin.model}, and {source} is model {model_hash}; "
                "name the model that they come from, or embed the images again"
            )

    def columns(self, rows: range) -> pa.Table:
        """The columns of ``rows`` (n,) but their vectors."""
        names = [name for name in parquet.read_schema(self._paths[0]).names if name != "vector"]
        return pa.concat_tables(self._read(rows, names))

    def vectors(self, rows: range) -> Iterator[Floats32]:
        """The vectors (b, D) of ``rows``, part by part."""
        return (vectors_of(part) for part in self._read(rows, ["vector"]))

    def _read(self, rows: range, columns: list[str]) -> Iterator[pa.Table]:
        for path, start, end in zip(self._paths, self._starts[:-1], self._starts[1:], strict=True):
            first, last = max(rows.start, int(start)), min(rows.stop, int(end))
            if first < last:
                yield parquet.read_table(path, columns=columns).slice(first - int(start), last - first)


def holds_embeddings(source: str | Path) -> bool:
    """Whether ``source`` is a folder of parts that ``metricforge embed`` writes."""
    return Path(source).is_dir() and next(Path(source).glob(PATTERN), None) is not None
