"""The adapter of a distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pytorch_metric_learning.distances import DotProductSimilarity, LpDistance
from torch import Tensor, nn

from metricforge import Registry, Similarity, functional
from metricforge_pml.constructors import construct
from metricforge_pml.parts.registries import NESTED


class PMLSimilarity(Similarity):
    """A distance of pytorch-metric-learning, ``wrapped``, as a similarity: what grows with the distance is negated.

    The index that finds the same neighbours is "l2" for a Euclidean distance and "ip" for a dot product, of embeddings
    normalised as it normalises them (which is its default). Others, and a dot product to another power than 1, are
    searched pair by pair.

    Raises:
        ValueError: for arguments that it refuses.
    """

    pml_class: ClassVar[type[nn.Module]]
    nested: ClassVar[Mapping[str, Registry]] = NESTED

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.wrapped = construct(self.pml_class, arguments)
        # the arguments decide, not the class
        if isinstance(self.wrapped, LpDistance) and self.wrapped.p == 2 and self.wrapped.power > 0:
            vars(self)["search"] = "l2"
        elif isinstance(self.wrapped, DotProductSimilarity) and self.wrapped.power == 1:
            vars(self)["search"] = "ip"

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            scores = self.wrapped(functional.in_float32(x), functional.in_float32(y))  # (N, M)
        return scores if self.wrapped.is_inverted else -scores

    def prepare(self, embeddings: Tensor) -> Tensor:
        return self.wrapped.maybe_normalize(functional.in_float32(embeddings))
