"""``BuildOptions``: how an index that is to be built is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metricforge.index.planning import RECALL, plan_kind
from metricforge.index.segment import SEGMENT_ROWS

if TYPE_CHECKING:
    from metricforge.index.indexed_model import IndexedModel


@dataclass(frozen=True)
class BuildOptions:
    """How an index that is to be built is searched.

    Args:
        kind: one of ``KINDS``, or "auto": chosen by the number of images and ``memory``.
        memory: bytes that searching may keep in memory; None: no limit.
        recall: share of the ten nearest images that an approximate kind must find, above 0 and at most 1; None: 0.95.
        segment_rows: images that one segment, with its own files and search structure, has at most; at least 1.
    """

    kind: str = "auto"
    memory: float | None = None
    recall: float | None = None
    segment_rows: int = SEGMENT_ROWS

    @property
    def wanted_recall(self) -> float:
        """The share of the ten nearest images to be found."""
        return RECALL if self.recall is None else self.recall

    def planned_kind(self, model: IndexedModel, count: int) -> str:
        """Return the kind of an index of ``count`` embeddings of ``model``; raises what ``plan_kind`` does."""
        return plan_kind(self.kind, self.memory, self.recall, model.similarity, count, model.dim, self.segment_rows)
