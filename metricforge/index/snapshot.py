"""A snapshot: one state of an index, which stays the same for a search while others change the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.calibration import Calibration
from metricforge.damaged_arrays import DAMAGED_ARRAY
from metricforge.errors import IndexFileError
from metricforge.index.array_similarity import ArraySimilarity, of_arrays
from metricforge.index.hit import Hit, Hits
from metricforge.index.kinds import SPARE, space_of
from metricforge.index.manifest import Manifest
from metricforge.index.row_filter import matching_rows
from metricforge.index.segment import FOLDER, Segment, prepared
from metricforge.large_arrays import stored_arrays

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

SHORTLIST = 100  # candidates beyond k that a learned similarity, which no search structure supports, puts in order
NUMBERS_AT_ONCE = 2**22
KNOWN = ("id", "path", "label")


class Found(NamedTuple):
    """The rows found for one query, best first.

    Args:
        scores: the model's similarity (k,).
        segments: index of each one's segment (k,).
        rows: its row in that segment (k,).
    """

    scores: Floats32
    segments: Indices
    rows: Indices


class Snapshot:
    """The segments that one manifest names, and which of their rows were removed.

    Args:
        index: the index's folder.
        manifest: its state.
        known: segments that are already open, by name.
    """

    def __init__(self, index: Path, manifest: Manifest, known: Mapping[str, Segment]) -> None:
        self.index = index
        self.manifest = manifest
        self.segments = [
            known[name] if name in known else Segment(index / FOLDER / name, manifest.kind)
            for name in manifest.segments
        ]
        self.alive = _alive(index, manifest, self.segments)

    def __len__(self) -> int:
        return sum(len(segment) if alive is None else int(alive.sum()) for segment, alive in self._parts())

    @cached_property
    def tables(self) -> list[pa.Table]:
        """The table of each segment with the columns of all; a column that a segment lacks is null."""
        if not self.segments:
            return []
        empty = pa.unify_schemas(
            [each.table.schema for each in self.segments], promote_options="permissive"
        ).empty_table()
        return [pa.concat_tables([empty, each.table], promote_options="permissive") for each in self.segments]

    def _parts(self) -> list[tuple[Segment, Flags | None]]:
        return list(zip(self.segments, self.alive, strict=True))

    def allowed(self, condition: str | None) -> list[Flags | None]:
        """Return which rows of each segment may be found: not removed, and fulfilling ``condition``; None: all.

        Raises:
            FilterError: for a condition that cannot be understood.
        """
        if condition is None:
            return list(self.alive)
        flags: list[Flags | None] = []
        for (_, alive), table in zip(self._parts(), self.tables, strict=True):
            chosen = matching_rows(table, condition)
            flags.append(chosen if alive is None else chosen & alive)
        return flags

    def search(
        self,
        queries: Floats32,
        similarity: Similarity | ArraySimilarity,
        k: int,
        allowed: Sequence[Flags | None],
        *,
        exact: bool = False,
    ) -> list[Found]:
        """Find the ``k`` nearest images of each of ``queries`` (Q, D), scored and ranked by ``similarity``, ties by id.

        Args:
            queries: embeddings as the model gives them.
            similarity: the model's.
            k: number of images; fewer if there are fewer.
            allowed: from ``allowed``.
            exact: compare every vector instead of searching a structure.
        """
        similarity = of_arrays(similarity)
        space = space_of(similarity)
        effort = int(self.manifest.settings.get("effort", 0))
        spare = int(self.manifest.settings.get("spare", SPARE))
        wanted = k + (max(spare, SHORTLIST) if similarity.search is None else spare)
        searched = prepared(similarity, queries)  # (Q, D')
        best = [Found(np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)) for _ in queries]
        for number, (segment, flags) in enumerate(zip(self.segments, allowed, strict=True)):
            if not len(segment):
                continue
            found = segment.candidates(searched, wanted, space, flags, effort, exact)  # (Q, c)
            for query, rows in enumerate(found):
                rows = rows[rows >= 0]
                scores = _scores(similarity, queries[query], segment, rows)
                best[query] = _joined(best[query], Found(scores, np.full(len(rows), number), rows), self.segments, k)
            segment.rest()
        return best

    @cached_property
    def calibration(self) -> Calibration | None:
        """How similarities become probabilities; None before ``metricforge index calibrate``."""
        values = self.manifest.calibration
        return None if values is None else Calibration.from_json(values)

    def hits(self, found: Found) -> Hits:
        """Return the images ``found`` with their path, label and other columns."""
        calibration = self.manifest.calibration
        hits = Hits()
        for score, number, row in zip(*found, strict=True):
            values = self.tables[number].slice(int(row), 1).to_pylist()[0]
            hits.append(
                Hit(
                    id=values["id"],
                    score=float(score),
                    path=values["path"],
                    label=values.get("label"),
                    probability=None if calibration is None else _probability(calibration, float(score)),
                    is_match=None if calibration is None else bool(score >= calibration["threshold"]),
                    metadata={key: value for key, value in values.items() if key not in KNOWN},
                )
            )
        return hits

    def place_of(self, image: int) -> tuple[int, int] | None:
        """Return segment and row of the image with the id ``image``; None if there is none."""
        for number, (segment, alive) in enumerate(self._parts()):
            rows = np.flatnonzero(segment.ids == image)
            rows = rows if alive is None else rows[alive[rows]]
            if len(rows):
                return number, int(rows[0])
        return None

    def table(self) -> pa.Table:
        """Return the columns of every image that was not removed."""
        parts = [
            table if alive is None else table.filter(pa.array(alive))
            for (_, alive), table in zip(self._parts(), self.tables, strict=True)
        ]
        return pa.concat_tables(parts) if parts else pa.table({})


def _probability(calibration: Mapping[str, Any], score: float) -> float:
    """As ``Calibration.probability``."""
    return float(np.interp(score, calibration["scores"], calibration["probabilities"]))


def _scores(similarity: ArraySimilarity, query: Floats32, segment: Segment, rows: Indices) -> Floats32:
    """Score ``query`` (D,) against the vectors in ``rows`` (c,), block by block."""
    scores = np.empty(len(rows), dtype=np.float32)
    step = max(1, NUMBERS_AT_ONCE // max(1, len(query)))
    for start in range(0, len(rows), step):
        block = np.asarray(segment.vectors[rows[start : start + step]])  # (b, D)
        scores[start : start + step] = similarity.scores(query, block)
    return scores


def _joined(one: Found, other: Found, segments: Sequence[Segment], k: int) -> Found:
    """Return the best ``k`` of both, ties by id."""
    scores = np.concatenate([one.scores, other.scores])
    numbers, rows = np.concatenate([one.segments, other.segments]), np.concatenate([one.rows, other.rows])
    ids = np.array([segments[number].ids[row] for number, row in zip(numbers, rows, strict=True)], dtype=np.int64)
    order = np.lexsort((ids, -scores))[:k]
    return Found(scores[order], numbers[order], rows[order])


def _alive(index: Path, manifest: Manifest, segments: Sequence[Segment]) -> list[Flags | None]:
    if manifest.deleted is None:
        return [None] * len(segments)
    try:
        rows = stored_arrays(index / manifest.deleted)
    except OSError:
        raise  # whoever reads the index knows whether a writer has just removed the file
    except DAMAGED_ARRAY as fault:
        raise IndexFileError(f"{index / manifest.deleted} cannot be read ({fault}); build the index again") from fault
    flags: list[Flags | None] = []
    for segment in segments:
        alive = None
        if segment.name in rows:
            alive = np.ones(len(segment), dtype=bool)
            alive[rows[segment.name]] = False
        flags.append(alive)
    return flags
