"""What a vector database gets of an index: ids, vectors and columns, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from metricforge.arrays import Floats32
from metricforge.errors import EmbeddingsError
from metricforge.index.search_index import SearchIndex
from metricforge.index.snapshot import Snapshot
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity

ROWS_AT_ONCE = 1024
VECTOR = "vector"


@dataclass(frozen=True)
class IndexRows:
    """One state of an index, as a database takes it.

    Args:
        snapshot: that state.
        distance: by which a database finds the model's neighbours: "cosine", "l2" (Euclidean) or "ip" (inner product).
        similarity: the name of the model's similarity.
    """

    snapshot: Snapshot
    distance: str
    similarity: str

    @classmethod
    def of(cls, index: SearchIndex) -> IndexRows:
        """The current state of ``index``.

        Raises:
            EmbeddingsError: for a similarity that no such distance ranks as, or a column that is called "vector".
        """
        snapshot = index.snapshot()
        similarity = index.model.learner.similarity
        if VECTOR in snapshot.table().column_names:
            raise EmbeddingsError(f'{index.path} has a column "{VECTOR}", which is the name of the vectors; rename it')
        return cls(snapshot, _distance(snapshot, similarity), type(similarity).__name__)

    def __len__(self) -> int:
        return len(self.snapshot)

    @property
    def dim(self) -> int:
        """D."""
        return self.snapshot.manifest.dim

    @property
    def schema(self) -> pa.Schema:
        """Of the columns: ``id``, ``path`` and what else there is."""
        return self.snapshot.table().schema

    @property
    def about(self) -> dict[str, Any]:
        """Whose vectors they are, for the database to keep."""
        return {
            "metricforge_model": self.snapshot.manifest.model_hash,
            "dimensions": self.dim,
            "similarity": self.similarity,
            "distance": self.distance,
        }

    def blocks(self) -> Iterator[tuple[pa.Table, Floats32]]:
        """Columns (n rows) and vectors (n, D), as the model gave them, of the images that were not removed."""
        parts = zip(self.snapshot.segments, self.snapshot.alive, self.snapshot.tables, strict=True)
        for segment, alive, table in parts:
            rows = np.arange(len(segment)) if alive is None else np.flatnonzero(alive)
            for start in range(0, len(rows), ROWS_AT_ONCE):
                chosen = rows[start : start + ROWS_AT_ONCE]
                yield table.take(pa.array(chosen)), np.asarray(segment.vectors[chosen], dtype=np.float32)


def _distance(snapshot: Snapshot, similarity: Similarity) -> str:
    if isinstance(similarity, CosineSimilarity):
        return "cosine"
    unchanged = all(segment.searched is segment.vectors for segment in snapshot.segments)
    if similarity.search not in ("ip", "l2") or not unchanged:
        raise EmbeddingsError(
            f"the index's model compares by {type(similarity).__name__}, but vector databases only by cosine, "
            "Euclidean distance or inner product; search it with metricforge search or serve"
        )
    return similarity.search
