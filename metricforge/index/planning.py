"""Which kind of index a build makes, and whether every option takes effect, before anything is embedded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metricforge.errors import EmbeddingsError
from metricforge.index.array_similarity import ArraySimilarity, name_of
from metricforge.index.kinds import KINDS, LEAST_TRAINING_ROWS, WITH_LISTS, choose_kind, resident_bytes
from metricforge.index.segment import SEGMENT_ROWS, cut_evenly

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

RECALL = 0.95  # unless another one is asked for


def plan_kind(
    kind: str,
    memory: float | None,
    recall: float | None,
    similarity: Similarity | ArraySimilarity,
    count: int,
    dim: int,
    segment_rows: int = SEGMENT_ROWS,
) -> str:
    """Return the kind of an index of ``count`` embeddings of ``dim`` dimensions; see ``BuildOptions``.

    Raises:
        EmbeddingsError: if an option cannot take effect, or no kind fits into ``memory``.
        ValueError: for another kind, or a recall or ``segment_rows`` outside its range.
    """
    if segment_rows < 1:
        raise ValueError(f"segment_rows must be >= 1, got {segment_rows}")
    if kind not in (*KINDS, "auto"):
        raise ValueError(f"kind must be auto or one of {', '.join(KINDS)}, got {kind!r}")
    if recall is not None and not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall}")
    chosen = _chosen(kind, memory, similarity, count, dim)
    if chosen in WITH_LISTS and count < LEAST_TRAINING_ROWS:
        raise EmbeddingsError(
            f"kind {chosen} needs at least {LEAST_TRAINING_ROWS:,} images to learn its codes from, got {count:,}; "
            "use flat, which is fast for so few images"
        )
    if chosen in WITH_LISTS and smallest_segment(count, segment_rows) < LEAST_TRAINING_ROWS:
        raise EmbeddingsError(
            f"--segment-rows {segment_rows:,} cuts {count:,} images into segments of "
            f"{smallest_segment(count, segment_rows):,}, but {chosen} needs at least {LEAST_TRAINING_ROWS:,} per "
            "segment to learn its codes; allow more"
        )
    if recall is not None and kind != "auto" and (kind == "flat" or similarity.search == "hamming"):
        raise EmbeddingsError(
            f"--recall {recall:g} sets how thoroughly approximate kinds search, but --kind {kind} compares every "
            "image; leave one of them out"
        )
    return chosen


def why_missed(kind: str, count: int, dim: int, found: float, wanted: float) -> str | None:
    """Say what finds more than the share ``found`` of an index, where fewer than ``wanted``; None where it is enough.

    Args:
        kind: of the index.
        count: its images.
        dim: D.
        found: share of the ten nearest images that its most thorough search finds.
        wanted: the share asked for.
    """
    if found >= wanted:
        return None
    all_of_them = "--kind flat finds all"
    if kind in ("ivfpq", "binary"):
        lists = f"ivfint8, which takes --memory {math.ceil(count * resident_bytes('ivfint8', dim) / 1e6)}MB"
        all_of_them = f"more find {lists}, and --kind flat, which finds all"
    return f"{found:.3f} is below the {wanted:g} asked for, and no setting of {kind} finds more; {all_of_them}"


def smallest_segment(count: int, segment_rows: int) -> int:
    """Return the number of images in the smallest of the segments that ``count`` images are cut into."""
    return min(map(len, cut_evenly(count, segment_rows)), default=0)


def _chosen(kind: str, memory: float | None, similarity: Similarity | ArraySimilarity, count: int, dim: int) -> str:
    name = name_of(similarity)
    if kind != "auto" and memory is not None:
        raise EmbeddingsError(
            f"--memory {memory / 1e6:g}MB chooses a kind, but --kind {kind} names one already; leave one of them out"
        )
    if similarity.search == "hamming":
        if kind not in ("auto", "binary"):
            raise EmbeddingsError(
                f"--kind {kind}: the model compares signs ({name}), which only binary searches; leave --kind out"
            )
        kind = "binary"
    elif similarity.search is None and kind == "auto":
        kind = "flat"  # its shortlist must not miss anything: nobody knows how the similarity reorders it
    if kind != "auto":
        needed = count * resident_bytes(kind, dim)
        if memory is not None and needed > memory:
            raise EmbeddingsError(
                f"--memory {memory / 1e6:g}MB: {count:,} vectors of {dim} dimensions need {needed / 1e6:,.3g} MB as "
                f"{kind}, which a model that compares by {name} is searched by; allow more"
            )
        return kind
    chosen = choose_kind(count, dim, memory)
    least = count * resident_bytes("ivfpq", dim)
    if memory is not None and (least > memory or (chosen in WITH_LISTS and count < LEAST_TRAINING_ROWS)):
        needed = count * resident_bytes("flat", dim) if count < LEAST_TRAINING_ROWS else least
        raise EmbeddingsError(
            f"--memory {memory / 1e6:g}MB: {count:,} vectors of {dim} dimensions need at least {needed / 1e6:,.3g} MB; "
            "allow more"
        )
    return chosen
