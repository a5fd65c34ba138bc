"""Which kind of index a build makes, and whether every option takes effect, before anything is embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metricforge.errors import EmbeddingsError
from metricforge.index.kinds import KINDS, LEAST_TRAINING_ROWS, choose_kind, efforts, resident_bytes

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

RECALL = 0.95  # unless another one is asked for


def plan_kind(
    kind: str, memory: float | None, recall: float | None, similarity: Similarity, count: int, dim: int
) -> str:
    """Return the kind of an index of ``count`` embeddings of ``dim`` dimensions; see ``build_index``.

    Raises:
        EmbeddingsError: if an option cannot take effect, or no kind fits into ``memory``.
        ValueError: for another kind, or a recall outside its range.
    """
    if kind not in (*KINDS, "auto"):
        raise ValueError(f"kind must be auto or one of {', '.join(KINDS)}, got {kind!r}")
    if recall is not None and not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall}")
    chosen = _chosen(kind, memory, similarity, count, dim)
    if chosen == "ivfpq" and count < LEAST_TRAINING_ROWS:
        raise EmbeddingsError(
            f"kind ivfpq needs at least {LEAST_TRAINING_ROWS:,} images to learn its codes from, got {count:,}; "
            "use flat, which is fast for so few"
        )
    if recall is not None and kind != "auto" and len(efforts(chosen)) == 1:
        raise EmbeddingsError(
            f"--recall {recall:g} says how thoroughly hnsw and ivfpq search, and --kind {kind} has no such choice; "
            "leave one of them out"
        )
    return chosen


def _chosen(kind: str, memory: float | None, similarity: Similarity, count: int, dim: int) -> str:
    name = type(similarity).__name__
    if kind != "auto" and memory is not None:
        raise EmbeddingsError(
            f"--memory {memory / 1e6:g}MB chooses a kind, and --kind {kind} names one; leave one of them out"
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
    if memory is not None and (least > memory or (chosen == "ivfpq" and count < LEAST_TRAINING_ROWS)):
        needed = count * resident_bytes("flat", dim) if count < LEAST_TRAINING_ROWS else least
        raise EmbeddingsError(
            f"--memory {memory / 1e6:g}MB: {count:,} vectors of {dim} dimensions need at least {needed / 1e6:,.3g} MB; "
            "allow more"
        )
    return chosen
