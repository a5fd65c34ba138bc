"""Images to an embedding set: one pass, one preallocated array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from metricforge.datasets import ImageDataset
from metricforge.models import MetricLearner
from metricforge.structures import EmbeddingSet


@torch.inference_mode()
def embed_dataset(
    model: MetricLearner,
    loader: DataLoader[dict[str, Any]],
    device: torch.device,
    on_batch: Callable[[int], object] = lambda count: None,
) -> EmbeddingSet:
    """Embeddings (N, D) float32 of every image of ``loader``, in evaluation mode.

    Args:
        model: left in the mode (training or evaluation) it came in.
        loader: from ``build_test_loader``; its data set is an ``ImageDataset``.
        device: where the model is.
        on_batch: called with the number of images after each batch, for a progress bar.
    """
    dataset = loader.dataset
    assert isinstance(dataset, ImageDataset)
    embeddings: np.ndarray[Any, Any] | None = None
    ids = np.empty(len(dataset), dtype=np.int64)
    labels = np.empty(len(dataset), dtype=np.int64)
    was_training = model.training
    model.eval()
    try:
        done = 0
        for batch in loader:
            rows = model.embed(batch["image"].to(device, non_blocking=True)).cpu().numpy()  # (B, D)
            if embeddings is None:
                embeddings = np.empty((len(dataset), rows.shape[1]), dtype=np.float32)
            here = slice(done, done + len(rows))
            embeddings[here], ids[here], labels[here] = rows, batch["id"], batch["label"]
            done += len(rows)
            on_batch(len(rows))
    finally:
        model.train(was_training)
    assert embeddings is not None
    assert done == len(dataset)
    return EmbeddingSet(embeddings, labels, ids, dataset.class_names)
