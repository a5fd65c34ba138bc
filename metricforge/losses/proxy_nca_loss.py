"""Proxy-NCA: each embedding must be nearer to its class's proxy than to those of the other classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from metricforge.functional.distances import in_float32, pairwise_cosine
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_count, check_tuples
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Tuples


@LOSSES.register_module()
class ProxyNCALoss(Loss):
    """Neighbourhood component analysis with one proxy per class in place of the other samples.

    Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies" (ICCV 2017): the mean over the batch of
    ``-log( exp(-s d(x, p_y)) / sum_{z != y} exp(-s d(x, p_z)) )``, d the squared Euclidean distance (0..4) of
    the embedding and the proxy, both L2-normalised here. The denominator is over the other classes only, so the value
    may be negative. The paper writes no s: ``scale`` is the product of the two lengths to which it scales embeddings
    and proxies, and 1 is its formula at length 1.

    With ``include_positive`` the denominator is over all classes, which is a softmax: Teh et al., "ProxyNCA++" (ECCV
    2020), whose temperature is 1 / ``scale`` (the paper's is 1/9).

    The proxies (C, D) are drawn from a normal distribution, so that their directions are even on the sphere. The
    negatives are the other proxies: a batch of one class or of one image is as good as any other; an empty one gives 0.
    Half types are computed in float32, also under autocast. It takes no tuples, and ``similarity`` is not used.

    Labels are 0..C-1. They are checked on the CPU only, because reading them on a GPU would stop it at every step.

    Args:
        num_classes: C >= 2, the classes of the training set.
        dim: D >= 1, the embedding's size.
        scale: s > 0.
        include_positive: whether the denominator has the sample's own class.

    Raises:
        ValueError: for arguments outside these ranges, embeddings of another size, or a label outside 0..C-1 (CPU).
        TypeError: for any tuples.
    """

    def __init__(self, num_classes: int, dim: int, scale: float = 1.0, include_positive: bool = False) -> None:
        super().__init__()
        check_count("num_classes", num_classes, 2)
        check_count("dim", dim)
        check_at_least("scale", scale, 0, open_end=True)
        self.num_classes = num_classes
        self.dim = dim
        self.scale = scale
        self.include_positive = include_positive
        self.proxies = nn.Parameter(torch.randn(num_classes, dim))  # (C, D)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        if embeddings.shape[1] != self.dim:
            raise ValueError(
                f"embeddings must be (B, {self.dim}), as dim={self.dim} says, got shape {tuple(embeddings.shape)}; "
                "leave dim out of the config and it is filled in"
            )
        if labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{self.num_classes - 1} (num_classes={self.num_classes}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        proxies = in_float32(self.proxies)  # (C, D)
        # d = 2 - 2 cos, and the 2 is in the numerator and in every term of the denominator.
        logits = pairwise_cosine(embeddings.to(proxies.dtype), proxies, scale=2 * self.scale)  # (B, C)
        if self.include_positive:
            losses = cross_entropy(logits, labels, reduction="sum")
        else:
            own = labels[:, None]  # (B, 1)
            others = logits.scatter(1, own, -torch.inf).logsumexp(dim=1)  # (B,)
            losses = (others - logits.gather(1, own).squeeze(1)).sum()
        return LossOutput(losses / max(len(labels), 1))

    def extra_repr(self) -> str:
        return (
            f"num_classes={self.num_classes}, dim={self.dim}, scale={self.scale}, "
            f"include_positive={self.include_positive}"
        )
