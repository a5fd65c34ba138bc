"""From images to an embedding set: one pass, one preallocated array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from metricforge.arrays import Array, Indices
from metricforge.datasets import ImageDataset
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_backbone import is_sharded
from metricforge.errors import EmbeddingsError
from metricforge.large_arrays import MAPPED_ABOVE_GB, ROWS_AT_ONCE, new_array
from metricforge.models import MetricLearner, evaluation_mode
from metricforge.structures import EmbeddingSet

Dtype = Literal["float32", "float16"]
DTYPES: tuple[str, ...] = get_args(Dtype)


def embed_dataset(
    model: MetricLearner,
    loader: DataLoader[dict[str, Any]],
    device: torch.device,
    on_batch: Callable[[int], object] = lambda count: None,
    processes: Processes | None = None,
    dtype: Dtype = "float32",
    mapped_above_gb: float = MAPPED_ABOVE_GB,
) -> EmbeddingSet | None:
    """Embed every image of the data set of ``loader`` in evaluation mode: embeddings (N, D).

    With several processes each embeds the images of its loader; process 0 returns the whole set in stored order, the
    others None. Process 0 holds all N, the others their own share.

    Args:
        model: afterwards, each of its modules is back in its own mode (training or evaluation).
        loader: from ``build_test_loader``; its data set is an ``ImageDataset``.
        device: where the model is.
        on_batch: called with the number of images after each batch, for a progress bar.
        processes: which processes share the images; None: only this one.
        dtype: in which embeddings are kept, "float32" or "float16".
        mapped_above_gb: keep an array of more than this many 10^9 bytes in a memory-mapped temporary file.

    Raises:
        EmbeddingsError: for an embedding that ``dtype`` cannot hold.
        DiskSpaceError: if there is no room for the temporary file.
    """
    processes = Processes() if processes is None else processes
    dataset = loader.dataset
    assert isinstance(dataset, ImageDataset)
    batches = loader.batch_sampler
    assert isinstance(batches, list)
    share = sum(map(len, batches))  # n, this process's share of N
    count = len(dataset) if processes.is_main else share
    embeddings: Array | None = None
    columns = np.empty((count, 2), dtype=np.int64)  # (N or n, 2): id and label
    sharded = is_sharded(model.backbone)
    given: Iterator[dict[str, Any]] = iter(loader)
    blanks: Iterator[Tensor] = iter(())
    if sharded:
        given, blanks = _evened_out(given, len(batches), processes)
    # torch keeps what it gathers a sharded backbone's weights in for training, which cannot use inference's tensors
    with evaluation_mode(model), torch.inference_mode(not sharded), torch.no_grad():
        done = 0
        for batch in given:
            rows = model.embed(batch["image"].to(device, non_blocking=True)).cpu().numpy()  # (B, D)
            if embeddings is None:
                embeddings = new_array((count, rows.shape[1]), np.dtype(dtype), mapped_above_gb)
            # an image's id is its position in the data set
            here = batch["id"].numpy() if processes.is_main else slice(done, done + len(rows))
            embeddings[here] = _converted(rows, embeddings.dtype, batch["id"].numpy())
            columns[here, 0], columns[here, 1] = batch["id"], batch["label"]
            done += len(rows)
            on_batch(len(rows))
        for blank in blanks:
            model.embed(blank.to(device))
    assert done == share
    if processes.several:
        shares_of_columns = processes.collect(torch.from_numpy(columns[:share]))
        rows_of_share = torch.empty(0) if embeddings is None else torch.from_numpy(embeddings)
        for rank, start, block in processes.blocks_of_others(rows_of_share, ROWS_AT_ONCE):
            assert embeddings is not None
            its_columns = shares_of_columns[rank][start : start + len(block)].numpy()
            embeddings[its_columns[:, 0]], columns[its_columns[:, 0]] = block.numpy(), its_columns
        if not processes.is_main:
            return None
    assert embeddings is not None
    cameras = None if dataset.cameras is None else dataset.cameras[columns[:, 0]]
    return EmbeddingSet(embeddings, columns[:, 1].copy(), columns[:, 0].copy(), dataset.class_names, cameras)


def _evened_out(
    given: Iterator[dict[str, Any]], count: int, processes: Processes
) -> tuple[Iterator[dict[str, Any]], Iterator[Tensor]]:
    """The ``count`` batches ``given`` to this process, and blank images until it has as many as any other.

    Whenever one process computes with a sharded backbone all take part, and one may have a batch more than another.
    """
    first = next(given, None)
    own = None if first is None else torch.zeros_like(first["image"][:1], device="cpu")  # (1, 3, H, W)
    told = processes.gather_values((count, own))
    blank = next(image for _, image in told if image is not None)
    missing = max(its_count for its_count, _ in told) - count
    return chain([] if first is None else [first], given), repeat(blank, missing)


def _converted(rows: Array, dtype: np.dtype[Any], ids: Indices) -> Array:
    """``rows`` (B, D) as ``dtype``."""
    with np.errstate(over="ignore"):
        converted = rows.astype(dtype)
    lost = (np.isinf(converted) & np.isfinite(rows)).any(axis=1)  # (B,)
    if lost.any():
        raise EmbeddingsError(
            f"test_cfg.dtype: {dtype} holds values up to {np.finfo(dtype).max:,.0f}, and the embedding of image "
            f"{ids[lost][0]} has one of {np.abs(rows[lost][0]).max():.3g}; use float32"
        )
    return converted
