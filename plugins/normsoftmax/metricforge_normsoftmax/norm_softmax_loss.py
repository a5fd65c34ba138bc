"""Cross entropy over cosine similarities to one proxy a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding

from metricforge import LOSSES, Loss, LossOutput, Pairs, Quadruplets, Similarity, Triplets, functional
from metricforge_normsoftmax.class_sample import draw_classes
from metricforge_normsoftmax.sharded_cross_entropy import ShardedCrossEntropy


@LOSSES.register_module()
class NormSoftmaxLoss(Loss):
    """Normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2018).

    ``logits = cos(embedding, proxy) / temperature``, then the mean cross entropy of the batch: no bias, embeddings
    (B, D) and proxies (C, D) both L2-normalised here, in float32 also under autocast. A batch of one class, or of one
    image, is as good as any other, for the negatives are the other classes' proxies; an empty one gives 0. It takes no
    tuples.

    With ``class_ratio`` (class subsampling, section 4.3) a training step sees S = ``round(class_ratio * C)`` classes:
    the batch's own and, drawn evenly from torch's global generator, some of the others; where the batch alone has more
    than S, its own. In evaluation mode all classes count. The proxies then get a sparse gradient that names these S
    rows, and no (C, D) gradient ever exists. ``metricforge.step_touched_rows(optimizer)``, which every run of the
    framework has, steps them: the learning rate, its schedule, weight decay and momentum of the config apply to a proxy
    in the steps that it is sampled in, and nothing moves it in the others. At ratio 1 that is dense training. Weights
    and optimizer state have the same names and shapes with and without ``class_ratio``. ``clip_grad`` by norm works,
    by value torch cannot do it on a sparse gradient.

    With ``shard`` and W processes (``torchrun``), process r holds the proxies r*C/W..(r+1)*C/W-1 alone, with their
    optimizer state, and logits of them alone: values, gradients and draws are those of one process, whatever W is, and
    so are the checkpoints, which have all proxies. Another number of processes may resume the run. Optimizers
    must treat each weight by itself, and ``clip_grad`` by norm is refused: no process knows the norm.

    Labels are 0..C-1. Without ``class_ratio`` they are checked on the CPU only, because reading them on a GPU would
    stop it at every step; there a label out of range is CUDA's assertion, or, for -100, is left out of the mean. With
    sharded proxies it makes the total NaN.

    No deviation from the paper, which does not say whether its ratio counts the batch's own classes; here it does.

    Args:
        num_classes: C >= 2, the classes of the training set.
        dim: D >= 1, the embedding's size.
        temperature: T > 0; the paper's is 0.05.
        class_ratio: S / C in (0, 1], large enough for two classes; None: every step sees all classes, densely.
        shard: whether the processes that train together hold a part of the proxies each; alone, a process holds all.

    Raises:
        ValueError: for arguments outside these ranges, more processes than classes to share, embeddings of another
            size, or a label outside 0..C-1.
        TypeError: for any tuples.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        temperature: float = 0.05,
        class_ratio: float | None = None,
        shard: bool = False,
    ) -> None:
        super().__init__()
        functional.check_count("num_classes", num_classes, 2)
        functional.check_count("dim", dim)
        functional.check_at_least("temperature", temperature, 0, open_end=True)
        functional.check_at_least("temperature", temperature, torch.finfo(torch.float32).tiny)  # 1/T must be finite
        self.num_classes = num_classes
        self.dim = dim
        self.temperature = temperature
        self.sampled_classes = None if class_ratio is None else _sampled_classes(class_ratio, num_classes)
        self.shard_sizes = functional.shard_sizes(num_classes) if shard else [num_classes]
        own, count = functional.own_shard(self.shard_sizes)  # count: C_r, C on a process alone
        self.first_class = own.first
        if len(self.shard_sizes) > 1:
            self.row_shards = {"proxies": own}
        bound = dim**-0.5
        rows = functional.draw_rows(own, count, dim, lambda block: block.uniform_(-bound, bound))
        self.proxies = nn.Parameter(rows)  # (C_r, D)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, D), in -1/temperature..1/temperature: a classifier of the training classes.

        The largest is the likeliest class, softmax gives probabilities. Column c is label c of the training set, whose
        name is ``dataset.class_names[c]``. With sharded proxies every process calls it, with the same embeddings, and
        the logits have no gradient.

        Raises:
            ValueError: for embeddings of another size.
        """
        return functional.gather_columns(self._logits(embeddings, self.proxies), self.shard_sizes)

    def _logits(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        if embeddings.dim() != 2 or embeddings.shape[1] != self.dim:
            raise ValueError(
                f"embeddings must be (B, {self.dim}), as dim={self.dim} says, got shape {tuple(embeddings.shape)}; "
                "leave dim out of the config and it is filled in"
            )
        proxies = functional.in_float32(proxies)  # (S, D)
        return functional.pairwise_cosine(embeddings.to(proxies.dtype), proxies, 1 / self.temperature)  # (B, S)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Pairs | Triplets | Quadruplets | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        functional.check_tuples(tuples, self.accepts)
        if len(labels) == 0:
            return LossOutput(functional.in_float32(embeddings).sum())
        subsample = self.sampled_classes is not None and self.training
        if subsample or labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{self.num_classes - 1} (num_classes={self.num_classes}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        proxies: Tensor = self.proxies  # (C_r, D)
        columns = labels - self.first_class  # (B,)
        if subsample:
            assert self.sampled_classes is not None
            classes = draw_classes(labels, self.num_classes, self.sampled_classes)  # (S,), the same on all processes
            columns = torch.searchsorted(classes, labels)
            if self.row_shards:
                last = self.first_class + len(self.proxies)
                columns = columns - int((classes < self.first_class).sum())
                classes = classes[(classes >= self.first_class) & (classes < last)] - self.first_class  # (S_r,)
            proxies = embedding(classes, self.proxies, sparse=True)  # (S_r, D)
        if not self.row_shards:
            return LossOutput(cross_entropy(self._logits(embeddings, proxies), columns))
        logits = self._logits(functional.with_summed_gradient(embeddings), proxies)  # (B, S_r)
        elsewhere = (columns < 0) | (columns >= logits.shape[1])
        return LossOutput(ShardedCrossEntropy.apply(logits, columns.masked_fill(elsewhere, -1)))


def _sampled_classes(class_ratio: float, num_classes: int) -> int:
    functional.check_at_least("class_ratio", class_ratio, 0, open_end=True)
    if class_ratio > 1:
        raise ValueError(f"class_ratio must be in (0, 1], a share of all classes, got {class_ratio!r}")
    sampled = round(class_ratio * num_classes)
    if sampled < 2:
        raise ValueError(
            f"class_ratio ({class_ratio}) of {num_classes} classes is {sampled}, which leaves no negative class beside "
            f"the batch's own; take at least {2 / num_classes:.2g}, or leave class_ratio out to use all classes"
        )
    return sampled
