"""Cross entropy over cosine similarities to one proxy a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from metricforge import LOSSES, Loss, LossOutput, Pairs, Quadruplets, Similarity, Triplets, functional


@LOSSES.register_module()
class NormSoftmaxLoss(Loss):
    """Normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2018).

    ``logits = cos(embedding, proxy) / temperature``, then the mean cross entropy of the batch: no bias, embeddings
    (B, D) and proxies (C, D) both L2-normalised here, in float32 also under autocast. A batch of one class, or of one
    image, is as good as any other, for the negatives are the other classes' proxies. It takes no tuples.

    Labels are 0..C-1. They are checked on the CPU only, because reading them on a GPU would stop it at every step;
    there a label out of range is CUDA's assertion, or, for -100, is left out of the mean.

    No deviation from the paper's loss; its class subsampling (section 4.3) is not part of it.

    Args:
        num_classes: C >= 2, the classes of the training set.
        dim: D >= 1, the embedding's size.
        temperature: T > 0; the paper's is 0.05.

    Raises:
        ValueError: for arguments outside these ranges, embeddings of another size, or a label outside 0..C-1 (CPU).
    """

    def __init__(self, num_classes: int, dim: int, temperature: float = 0.05) -> None:
        super().__init__()
        functional.check_at_least("num_classes", num_classes, 2)
        functional.check_at_least("dim", dim, 1)
        functional.check_at_least("temperature", temperature, 0, open_end=True)
        self.num_classes = num_classes
        self.dim = dim
        self.temperature = temperature
        bound = dim**-0.5
        self.proxies = nn.Parameter(torch.empty(num_classes, dim).uniform_(-bound, bound))  # (C, D)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, D), in -1/temperature..1/temperature; the largest is the likeliest class."""
        if embeddings.dim() != 2 or embeddings.shape[1] != self.dim:
            raise ValueError(
                f"embeddings must be (B, {self.dim}), as dim={self.dim} says, got shape {tuple(embeddings.shape)}; "
                "leave dim out of the config and it is filled in"
            )
        proxies = functional.in_float32(self.proxies)  # (C, D)
        return functional.pairwise_cosine(embeddings.to(proxies.dtype), proxies, 1 / self.temperature)  # (B, C)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Pairs | Triplets | Quadruplets | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        if labels.device.type == "cpu":
            outside = labels[(labels < 0) | (labels >= self.num_classes)]
            if len(outside):
                raise ValueError(
                    f"label {int(outside[0])} is outside 0..{self.num_classes - 1} (num_classes={self.num_classes}); "
                    "leave num_classes out of the config and it is filled in, or number the classes from 0 on"
                )
        return LossOutput(cross_entropy(self.predict(embeddings), labels))
