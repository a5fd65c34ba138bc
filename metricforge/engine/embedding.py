"""Images to an embedding set: one pass, one preallocated array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from metricforge.datasets import ImageDataset
from metricforge.engine.processes import Processes
from metricforge.models import MetricLearner
from metricforge.structures import EmbeddingSet


@torch.inference_mode()
def embed_dataset(
    model: MetricLearner,
    loader: DataLoader[dict[str, Any]],
    device: torch.device,
    on_batch: Callable[[int], object] = lambda count: None,
    processes: Processes | None = None,
) -> EmbeddingSet | None:
    """Embeddings (N, D) float32 of every image of the data set of ``loader``, in evaluation mode.

    With several processes each embeds what its loader has; process 0 gets the whole set, in the stored order, and the
    others None.

    Args:
        model: left in the mode (training or evaluation) it came in.
        loader: from ``build_test_loader``; its data set is an ``ImageDataset``.
        device: where the model is.
        on_batch: called with the number of images after each batch, for a progress bar.
        processes: who shares the images; None: only this process.
    """
    dataset = loader.dataset
    assert isinstance(dataset, ImageDataset)
    batches = loader.batch_sampler
    assert isinstance(batches, list)
    count = sum(map(len, batches))  # n, this process's share of N
    embeddings: np.ndarray[Any, Any] | None = None
    columns = np.empty((count, 2), dtype=np.int64)  # (n, 2): id and label
    was_training = model.training
    model.eval()
    try:
        done = 0
        for batch in loader:
            rows = model.embed(batch["image"].to(device, non_blocking=True)).cpu().numpy()  # (B, D)
            if embeddings is None:
                embeddings = np.empty((count, rows.shape[1]), dtype=np.float32)
            here = slice(done, done + len(rows))
            embeddings[here], columns[here, 0], columns[here, 1] = rows, batch["id"], batch["label"]
            done += len(rows)
            on_batch(len(rows))
    finally:
        model.train(was_training)
    assert done == count
    if processes is not None and processes.several:
        shares = processes.collect(torch.empty(0) if embeddings is None else torch.from_numpy(embeddings))
        shares_of_columns = processes.collect(torch.from_numpy(columns))
        if not processes.is_main:
            return None
        assert embeddings is not None
        embeddings = np.empty((len(dataset), embeddings.shape[1]), dtype=np.float32)
        columns = np.empty((len(dataset), 2), dtype=np.int64)  # (N, 2)
        for share, its_columns in zip(shares, shares_of_columns, strict=True):
            positions = its_columns[:, 0].numpy()  # an image's id is its position in the data set
            if len(positions):
                embeddings[positions], columns[positions] = share.numpy(), its_columns.numpy()
    assert embeddings is not None
    return EmbeddingSet(embeddings, columns[:, 1].copy(), columns[:, 0].copy(), dataset.class_names)
