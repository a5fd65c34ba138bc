"""Whether a batch can be embedded in chunks without becoming another one silently."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from metricforge.engine.loading.data_loading import SeededBatches
from metricforge.errors import ConfigError
from metricforge.functional.embedding_checks import check_count
from metricforge.models import MetricLearner


def check_chunk(
    model: MetricLearner, loader: DataLoader[dict[str, Any]], chunk: int | None, batch_norm_per_chunk: bool
) -> None:
    """Check ``train_cfg.chunk`` and ``train_cfg.batch_norm_per_chunk`` against the model and its batches.

    Raises:
        ConfigError: for a chunk that is no whole number >= 1, or no smaller than the batch; where BatchNorm is trained
            and nobody said that it may use the statistics of a chunk; and for that word where nothing takes it.
    """
    if chunk is None:
        if batch_norm_per_chunk:
            raise ConfigError(
                ["train_cfg.batch_norm_per_chunk: there are no chunks; set train_cfg.chunk, or leave it out"]
            )
        return
    try:
        check_count("train_cfg.chunk", chunk)
    except ValueError as fault:
        raise ConfigError([str(fault)]) from fault
    batches = loader.batch_sampler
    assert isinstance(batches, SeededBatches)
    size = batches.sampler.batch_size
    if chunk >= size:
        raise ConfigError(
            [f"train_cfg.chunk: {chunk} is no smaller than the batch of {size}, so nothing is cached; leave it out"]
        )
    trained = _trained_batch_norms(model)
    if trained and not batch_norm_per_chunk:
        raise ConfigError(
            [
                f"train_cfg.chunk: {len(trained)} BatchNorm layers ({trained[0]}, ...) would normalise by the "
                f"statistics of {chunk} images instead of those of the batch, so the gradient would be that of another "
                "network. Freeze them (model.backbone.frozen_batch_norm=True, where the backbone has it), take a "
                "backbone without BatchNorm, or say that this is meant: train_cfg.batch_norm_per_chunk=True"
            ]
        )
    if batch_norm_per_chunk and not trained:
        raise ConfigError(
            [
                "train_cfg.batch_norm_per_chunk: no BatchNorm of this model is trained, so it changes nothing; "
                "leave it out"
            ]
        )


def _trained_batch_norms(model: MetricLearner) -> list[str]:
    """The BatchNorm layers of what embeds that use a batch's statistics in training, by name."""
    model.train()
    found = [
        f"{part}.{name}" if name else part
        for part in ("backbone", "head")
        for name, module in getattr(model, part).named_modules()
        if isinstance(module, _BatchNorm) and module.training
    ]
    model.eval()
    return found
