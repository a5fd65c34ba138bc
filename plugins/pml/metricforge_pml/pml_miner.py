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


class PMLMiner(Miner):
    """A miner of pytorch-metric-learning, ``wrapped``, which does the work.

    It mines by its own ``distance``, whatever the model's similarity is. Half types become float32 before, and a batch
    without a positive or without a negative pair gives no tuples, without a call.

    Raises:
        ValueError: for arguments that it refuses, or a batch of the wrong shapes or types.
    """

    uses_similarity = False
    pml_class: ClassVar[type[nn.Module]]
    nested: ClassVar[Mapping[str, Registry]] = NESTED

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.wrapped = construct(self.pml_class, arguments)

    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Tuples:
        return self.mine(embeddings, labels)

    @torch.no_grad()
    def mine(self, embeddings: Tensor, labels: Tensor) -> DirectedPairs | Triplets:
        """The tuples of a batch; ``forward`` has a similarity only because every miner is given one."""
        functional.check_batch(embeddings, labels)
        if functional.has_positive_and_negative(labels):
            with torch.autocast(embeddings.device.type, enabled=False):
                columns = self.wrapped(functional.in_float32(embeddings), labels)
        else:
            columns = (labels[:0],) * (4 if self.yields is DirectedPairs else 3)
        return from_index_tuple(columns, labels.device)
