"""A learned similarity must get a gradient from the loss, or its weights stay at their initial noise."""

from __future__ import annotations

import copy
import warnings

import torch

from metricforge.errors import ConfigError
from metricforge.functional.distances import l2_normalize
from metricforge.interfaces import Loss, Miner, Similarity
from metricforge.models.metric_learner import MetricLearner

ATTEMPTS = 4  # a miner may find nothing in a random batch, and a hinge may be inactive


def check_similarity_is_trained(model: MetricLearner, num_classes: int | None) -> None:
    """Refuse a similarity with trainable weights of which the loss reaches none.

    Decided by the backward pass of small random batches through copies of miner, loss and similarity. A loss that
    raises an error on them decides nothing: training will meet that error.

    Raises:
        ConfigError: names both, and the way out.
    """
    weights = [parameter for parameter in model.similarity.parameters() if parameter.requires_grad]
    if not weights or model.loss is None:
        return
    similarity, miner, loss = copy.deepcopy(model.similarity), copy.deepcopy(model.miner), copy.deepcopy(model.loss)
    dim = model.head.dim
    assert isinstance(dim, int)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(ATTEMPTS):
            torch.manual_seed(seed)
            try:
                if _reaches(similarity, miner, loss, dim, num_classes or 4, seed):
                    return
            except (RuntimeError, ValueError, TypeError, IndexError):
                return
    name, loss_name = type(similarity).__name__, type(loss).__name__
    raise ConfigError(
        [
            f"model.similarity: {name} has {sum(p.numel() for p in weights):,} weights, but {loss_name} does not train "
            f"them: none gets a gradient, so they would rank by their initial noise; choose a loss that is computed by "
            "the similarity, such as DoubleHeaderHingeLoss, a similarity without weights, or say that its weights are "
            "meant to stay as they are: model.train_similarity=False"
        ]
    )


def _reaches(similarity: Similarity, miner: Miner | None, loss: Loss, dim: int, num_classes: int, seed: int) -> bool:
    """Whether the loss of a random batch has a gradient with respect to a weight of ``similarity``."""
    labels = torch.arange(min(num_classes, 4)).repeat_interleave(4)  # (B,)
    embeddings = torch.randn(len(labels), dim)  # (B, D)
    if seed % 2 == 0:
        embeddings = l2_normalize(embeddings)
    embeddings.requires_grad_()
    with torch.no_grad():
        tuples = None if miner is None else miner(embeddings.detach(), labels, similarity)
    with torch.enable_grad():
        total = loss(embeddings, labels, tuples, similarity).total
    weights = [parameter for parameter in similarity.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(total, weights, allow_unused=True)
    return any(gradient is not None for gradient in found)
