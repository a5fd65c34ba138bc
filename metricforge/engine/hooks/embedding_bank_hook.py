"""Feeds a batch sampler the embeddings it chooses by, and keeps its state in the checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.errors import CheckpointError
from metricforge.samplers import EmbeddingBatchSampler


class EmbeddingBankHook(Hook):
    """Calls an ``EmbeddingBatchSampler`` as that class says, so that a resumed run draws the same batches.

    With several processes each embeds its share of the training set and all receive the whole; the embeddings of a
    batch are already on all of them. So all processes know the same, bit for bit.

    Args:
        sampler: the sampler of the training loader.
        loader: this process's share of the training images, without random transforms, as ``build_test_loader`` makes
            it.
    """

    # before the console's hook opens its bar (one at a time), and before a checkpoint is written
    priority = "NORMAL"

    def __init__(self, sampler: EmbeddingBatchSampler, loader: DataLoader[dict[str, Any]]) -> None:
        self.sampler = sampler
        self.loader = loader

    def before_train_epoch(self, runner: Any) -> None:
        if not self.sampler.refresh_is_due():
            return
        runner.train_loop.settle()
        count, processes = len(self.sampler.labels), runner.processes
        with runner.progress("embedding the training set", count // processes.world_size) as advance:
            embedded = embed_dataset(runner.model, self.loader, runner.device, advance, processes)
        if embedded is None:
            embeddings = torch.empty(count, runner.model.head.dim)  # (N, D), to be told
        else:
            assert embedded.ids is not None
            assert (embedded.ids[1:] > embedded.ids[:-1]).all(), "the loader must keep the stored order"
            embeddings = torch.from_numpy(embedded.embeddings)  # (N, D)
        broadcast(embeddings)
        self.sampler.refresh(embeddings)

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        self.sampler.observe(data_batch["id"], runner.model.last_embeddings)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["sampler"] = self.sampler.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        name = type(self.sampler).__name__
        way_out = "only the same run can be resumed, anything else is a new one (another --work-dir)"
        if "sampler" not in checkpoint:
            raise CheckpointError(f"the checkpoint has no state of {name}: it comes from another sampler; {way_out}")
        try:
            self.sampler.load_state_dict(checkpoint["sampler"])
        except ValueError as error:
            raise CheckpointError(f"the checkpoint's state does not fit {name}: {error}; {way_out}") from error
