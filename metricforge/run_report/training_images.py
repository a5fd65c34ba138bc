"""Images of training classes, embedded as the test's are, to be seen beside them on the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metricforge.assembly.run_datasets import build_run_datasets, evaluation_loader, read_as_test_images
from metricforge.datasets import ImageDataset
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.errors import ConfigError, DatasetError
from metricforge.structures import EmbeddingSet


@dataclass(frozen=True)
class TrainingImages:
    """Embedded images (T, D) of some training classes, and their data set."""

    dataset: ImageDataset
    embedded: EmbeddingSet

    @property
    def names(self) -> tuple[str, ...]:
        """Names of their classes."""
        return self.dataset.class_names


def embed_training_images(runner: Any, count: int) -> TrainingImages | str:
    """Embed at least ``count`` training images, of whole classes drawn at random, or all; or say why there are none.

    Args:
        runner: evaluates the run's checkpoint.
        count: how many; 0: none.
    """
    if not count:
        return ""
    cfg = runner.cfg
    if not cfg.get("train_dataloader"):
        return "The config names no training images."
    try:
        train = build_run_datasets(cfg, train=True).train
        assert train is not None
        sizes = np.bincount(train.labels, minlength=train.num_classes)
        order = np.random.default_rng(runner.seed).permutation(train.num_classes)
        needed = int(np.searchsorted(np.cumsum(sizes[order]), count)) + 1
        chosen = np.zeros(train.num_classes, dtype=bool)
        chosen[order[:needed]] = True
        some = train if chosen.all() else train.of_classes(chosen, train.split)
    except (DatasetError, ConfigError) as fault:
        return f"Training images are not on the map: {str(fault).splitlines()[-1].strip(' -')}"
    seen = read_as_test_images(runner.test_dataloader.dataset, some, cfg.test_dataloader)
    loader = evaluation_loader(seen, cfg.test_dataloader, runner.device, runner.processes)
    with runner.progress("embedding training images", len(seen)) as advance:
        embedded = embed_dataset(runner.model, loader, runner.device, advance)
    assert embedded is not None
    return TrainingImages(seen, embedded)
