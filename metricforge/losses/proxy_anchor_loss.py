"""Proxy anchor: each proxy pulls its class's embeddings and pushes all others, the hardest the most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metricforge.functional.distances import in_float32, pairwise_cosine
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_count, check_tuples
from metricforge.functional.log_sum_exp import log1p_sum_exp
from metricforge.functional.sharded_rows import (
    draw_rows,
    gather_columns,
    own_shard,
    shard_sizes,
    sum_of_processes,
    with_summed_gradient,
)
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Tuples


@LOSSES.register_module()
class ProxyAnchorLoss(Loss):
    """One proxy a class as the anchor of all embeddings of a batch.

    Kim et al., "Proxy Anchor Loss for Deep Metric Learning" (CVPR 2020), Eq. 4, with S the cosine of embedding and
    proxy: the mean over the batch's classes of ``log(1 + sum over the class of e^(-alpha (S - margin)))``, plus the
    mean over all C proxies of ``log(1 + sum over the other classes of e^(alpha (S + margin)))``.

    The proxies (C, D) are drawn as in the released code, from a normal distribution of standard deviation
    ``sqrt(2 / C)``. There they learn at 100 times the network's rate: ``paramwise_cfg=dict(custom_keys={"loss.proxies":
    dict(lr_mult=100)})``. A batch of one class or of one image is as good as any other, for the negatives are the
    other proxies; an empty one gives 0. Half types are computed in float32, also under autocast. It takes no tuples,
    and ``similarity`` is not used. Memory is O(B C).

    With ``shard`` and W processes (``torchrun``), process r holds the proxies r*C/W..(r+1)*C/W-1 alone, with their
    optimizer state: values, gradients and checkpoints are those of one process. ``clip_grad`` by norm is refused then,
    for no process knows the norm.

    Labels are 0..C-1. They are checked on the CPU only, because reading them on a GPU would stop it at every step.

    Parts: ``positive`` and ``negative``, the two means.

    Args:
        num_classes: C >= 2, the classes of the training set.
        dim: D >= 1, the embedding's size.
        margin: delta >= 0, in units of the cosine; 0.1 in the paper.
        alpha: > 0, how much the hardest of a sum outweigh the others; 32 in the paper.
        shard: whether the processes that train together hold a part of the proxies each; alone, a process holds all.

    Raises:
        ValueError: for arguments outside these ranges, more processes than classes to share, embeddings of another
            size, or a label outside 0..C-1 (CPU).
        TypeError: for any tuples.

    Examples:
        >>> from metricforge import LOSSES
        >>> loss = LOSSES.build(dict(type="ProxyAnchorLoss"), num_classes=3, dim=2)
        >>> sorted(loss(torch.eye(2), torch.tensor([0, 2])).parts)
        ['negative', 'positive']
    """

    def __init__(
        self, num_classes: int, dim: int, margin: float = 0.1, alpha: float = 32.0, shard: bool = False
    ) -> None:
        super().__init__()
        check_count("num_classes", num_classes, 2)
        check_count("dim", dim)
        check_at_least("margin", margin, 0)
        check_at_least("alpha", alpha, 0, open_end=True)
        self.num_classes = num_classes
        self.dim = dim
        self.margin = margin
        self.alpha = alpha
        self.shard_sizes = shard_sizes(num_classes) if shard else [num_classes]
        shard_of_it, count = own_shard(self.shard_sizes)
        self.first_class = shard_of_it.first
        if len(self.shard_sizes) > 1:
            self.row_shards = {"proxies": shard_of_it}
        deviation = (2 / num_classes) ** 0.5
        rows = draw_rows(shard_of_it, count, dim, lambda block: block.normal_(0, deviation))
        self.proxies = nn.Parameter(rows)  # (C_r, D)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, D), ``alpha`` times the cosines: a classifier of the training classes.

        The largest is the likeliest class. With sharded proxies every process calls it, with the same embeddings, and
        the logits have no gradient.

        Raises:
            ValueError: for embeddings of another size.
        """
        return gather_columns(self._logits(embeddings), self.shard_sizes)

    def _logits(self, embeddings: Tensor) -> Tensor:
        if embeddings.dim() != 2 or embeddings.shape[1] != self.dim:
            raise ValueError(
                f"embeddings must be (B, {self.dim}), as dim={self.dim} says, got shape {tuple(embeddings.shape)}; "
                "leave dim out of the config and it is filled in"
            )
        proxies = in_float32(self.proxies)  # (C_r, D)
        return pairwise_cosine(embeddings.to(proxies.dtype), proxies, scale=self.alpha)  # (B, C_r)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        if labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{self.num_classes - 1} (num_classes={self.num_classes}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        logits = self._logits(with_summed_gradient(embeddings) if self.row_shards else embeddings)  # (B, C_r)
        columns = labels - self.first_class  # (B,)
        here = (columns >= 0) & (columns < logits.shape[1])  # (B,)
        columns = columns.clamp(0, logits.shape[1] - 1)
        own = logits[torch.arange(len(labels), device=labels.device), columns]  # (B,)
        positive_sum = self._positive_terms(own, columns, here).sum()
        # in place: nothing that was computed so far needs the logits again
        others = logits.scatter_(1, columns[:, None], own.masked_fill(here, -torch.inf)[:, None])  # (B, C_r)
        negative_sum = log1p_sum_exp(others.add_(self.alpha * self.margin), dim=0).sum()
        if self.row_shards:
            positive_sum, negative_sum = sum_of_processes(torch.stack([positive_sum, negative_sum]))
        positive = positive_sum / _count_classes(labels).clamp_min(1)
        negative = negative_sum / self.num_classes
        return LossOutput(positive + negative, {"positive": positive.detach(), "negative": negative.detach()})

    def _positive_terms(self, own: Tensor, columns: Tensor, here: Tensor) -> Tensor:
        """``log(1 + sum e^...)`` of each proxy's own class (C_r,), 0 for classes that the batch does not have."""
        exponents = (self.alpha * self.margin - own).masked_fill(~here, -torch.inf)  # (B,)
        zeros = own.new_zeros(len(self.proxies))  # (C_r,)
        largest = zeros.scatter_reduce(0, columns, exponents.detach(), "amax")  # (C_r,), at least 0
        sums = zeros.index_add(0, columns, (exponents - largest[columns]).exp())  # (C_r,)
        return largest + torch.log1p(sums + torch.expm1(-largest))

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, dim={self.dim}, margin={self.margin}, alpha={self.alpha}"


def _count_classes(labels: Tensor) -> Tensor:
    """How many classes ``labels`` (B,) have, without the wait for a GPU that ``unique`` is."""
    ordered = labels.sort().values  # (B,)
    return (ordered[1:] != ordered[:-1]).sum() + min(len(labels), 1)
