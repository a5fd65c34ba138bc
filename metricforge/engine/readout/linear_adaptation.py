"""A linear layer on features that do not change: seconds of training, whatever the size of the backbone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from metricforge.arrays import Floats32, Indices
from metricforge.engine.loading.seeding import derive_seed
from metricforge.engine.readout.whitening import whitening
from metricforge.functional import l2_normalize

TEMPERATURE = 0.05
BATCH = 256
EPOCHS, LEAST_STEPS, MOST_STEPS = 10, 200, 1000
RATE, DECAY = 1e-3, 1e-4


def adapt_linearly(features: Floats32, labels: Indices, dim: int, seed: int) -> tuple[Tensor, Tensor] | None:
    """Train a linear layer, weight (D', F) and bias (D',), on cached ``features`` (N, F) with ``labels`` (N,).

    It begins as the whitening of the features, each normalised by LayerNorm without weights, and learns by the softmax
    over cosine similarities to one proxy a class (NormSoftmax, Zhai & Wu 2018), which begins as the class's mean.
    AdamW, a cosine to zero, on the CPU: the same on any machine with the same arithmetic.

    Args:
        features: of training images.
        labels: of at least two classes in 0..C-1.
        dim: D, of which ``whitening`` may find fewer.
        seed: what the order of the batches follows from.

    Returns:
        None where all features are equal.
    """
    rows = functional.layer_norm(torch.from_numpy(features), features.shape[1:])  # (N, F)
    classes = torch.from_numpy(labels)  # (N,)
    weight, bias = (torch.from_numpy(part) for part in whitening(rows.numpy(), dim))
    if not len(weight):
        return None
    with torch.no_grad():
        embeddings = l2_normalize(rows @ weight.T + bias)  # (N, D')
        sums = torch.zeros(int(classes.max()) + 1, len(weight)).index_add_(0, classes, embeddings)
        proxies = l2_normalize(sums)  # (C, D')
    learned = [part.clone().requires_grad_() for part in (weight, bias, proxies)]
    steps = min(max(EPOCHS * math.ceil(len(rows) / BATCH), LEAST_STEPS), MOST_STEPS)
    optimizer = torch.optim.AdamW(learned, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for chosen in _batches(len(rows), steps, seed):
        loss = _loss(rows[chosen], classes[chosen], *learned)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return learned[0].detach(), learned[1].detach()


def _loss(rows: Tensor, classes: Tensor, weight: Tensor, bias: Tensor, proxies: Tensor) -> Tensor:
    embeddings = l2_normalize(rows @ weight.T + bias)  # (B, D')
    return functional.cross_entropy(embeddings @ l2_normalize(proxies).T / TEMPERATURE, classes)


def _batches(count: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield ``steps`` batches (B,) of ``count`` rows, each row once an epoch."""
    draws = torch.Generator().manual_seed(derive_seed(seed))
    done = 0
    while True:
        for chosen in torch.randperm(count, generator=draws).split(BATCH):  # type: ignore[no-untyped-call]
            if done == steps:
                return
            done += 1
            yield chosen
