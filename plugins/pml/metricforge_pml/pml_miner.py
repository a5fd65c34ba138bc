"""The adapter of a miner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metricforge import DirectedPairs, Miner, Registry, Similarity, Triplets, Tuples, functional
from metricforge_pml.constructors import construct
from metricforge_pml.index_tuples import from_index_tuple
from metricforge_pml.parts.registries import NESTED
from metricforge_pml.references import references_of


class PMLMiner(Miner):
    """A miner of pytorch-metric-learning, ``wrapped``, which does the work.

    It mines by its own ``distance``, whatever the model's similarity is. Half types become float32 before, and a batch
    without a positive or without a negative pair gives no tuples, without a call.

    With ``ref_emb`` (R, D) and ``ref_labels`` (R,), as in pytorch-metric-learning, the anchors are rows of the batch
    and all others rows of ``ref_emb``: tuples for a loss that is given the same references.

    Raises:
        ValueError: for arguments that it refuses, a batch or references of the wrong shapes or types, or references
            where it takes none.
    """

    uses_similarity = False
    takes_references: ClassVar[bool] = True
    pml_class: ClassVar[type[nn.Module]]
    nested: ClassVar[Mapping[str, Registry]] = NESTED

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.wrapped = construct(self.pml_class, arguments)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        similarity: Similarity | None = None,
        *,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tuples:
        return self.mine(embeddings, labels, ref_emb, ref_labels)

    @torch.no_grad()
    def mine(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> DirectedPairs | Triplets:
        """The tuples of a batch; ``forward`` has a similarity only because every miner is given one."""
        functional.check_batch(embeddings, labels)
        references = references_of(embeddings, ref_emb, ref_labels)
        if references is not None and not self.takes_references:
            raise ValueError(
                f"ref_emb: {type(self).__name__} takes its tuples from the batch alone; leave ref_emb and ref_labels "
                "out, or take another miner"
            )
        if references is not None or functional.has_positive_and_negative(labels):
            with torch.autocast(embeddings.device.type, enabled=False):
                columns = self.wrapped(functional.in_float32(embeddings), labels, *(references or ()))
        else:
            columns = (labels[:0],) * (4 if self.yields is DirectedPairs else 3)
        return from_index_tuple(columns, labels.device)
