"""An epoch on vectors, beside a loop written by hand with the same head, loss, batches and optimizer.

    python benchmarks/vectors.py

Both train on the same 100,000 x 768 vectors in this process, in epochs that alternate; the ratio is the median of those
of neighbouring epochs, in seconds of this process's processor time. Ours is ``build_runner(...)``: seeds for every
update, checks of the loss, hooks, a log. Checkpoints and validation, which the other has none of, are not timed.

Exits with 1 where ours takes more than 1.2 times as long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from rich.console import Console

from metricforge import build_runner

ALLOWED = 1.2
BATCH = 128
CLASSES = 1000


class HandWritten:
    """The shortest loop that trains the head and the loss of ``runner`` on ``vectors`` (N, F) with ``labels`` (N,)."""

    def __init__(self, runner: Any, vectors: torch.Tensor, labels: torch.Tensor) -> None:
        model = type(runner.model).from_config(runner.cfg.model, runner.num_classes)
        self.head, self.loss = model.head.train(), model.loss.train()
        parameters = [*self.head.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-4)
        self.vectors, self.labels = vectors, labels

    def epoch(self) -> float:
        """Train on every vector once, in random order, and return the seconds it took."""
        started = time.process_time()
        for chosen in torch.randperm(len(self.vectors)).split(BATCH):
            loss = self.loss(self.head(self.vectors[chosen]), self.labels[chosen]).total
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.process_time() - started


class Alternate(Hook):
    """Times each epoch of ours, and after it one by hand."""

    priority = "VERY_LOW"

    def __init__(self, by_hand: HandWritten) -> None:
        self.by_hand = by_hand
        self.ratios: list[float] = []

    def before_train_epoch(self, runner: Any) -> None:
        self._started = time.process_time()

    def after_train_epoch(self, runner: Any) -> None:
        ours = time.process_time() - self._started
        theirs = self.by_hand.epoch()
        if runner.epoch:  # the first epoch warms up
            self.ratios.append(ours / theirs)
            print(f"epoch {runner.epoch}: ours {ours:.2f} s, by hand {theirs:.2f} s, ratio {ours / theirs:.2f}")


def main() -> None:
    """Print the ratios, and exit with 1 where the median is above what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="vectors (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=768, help="numbers of a vector (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of each, the first of which is not timed")
    arguments = parser.parse_args()
    draws = np.random.default_rng(0)
    labels = np.arange(arguments.count) % CLASSES
    vectors = draws.normal(size=(CLASSES, arguments.dim))[labels] + draws.normal(size=(arguments.count, arguments.dim))
    vectors = vectors.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "vectors.npz", embeddings=vectors, labels=labels)
        runner = build_runner(
            "normsoftmax_vectors",
            overrides={
                "data_root": folder,
                "train_dataloader.dataset.split": "all",
                "train_dataloader.sampler": dict(type="RandomBatchSampler", batch_size=BATCH, _delete_=True),
                "train_cfg": dict(max_epochs=arguments.epochs, val_interval=0),
                "param_scheduler": [],
                "validation": None,
                "checkpoint.save_best": None,
                "checkpoint.interval": arguments.epochs + 1,
                "baselines": None,
            },
            work_dir=Path(folder) / "run",
            device="cpu",
            console=Console(quiet=True),
        )
        by_hand = HandWritten(runner, torch.from_numpy(vectors), torch.from_numpy(labels))
        alternate = Alternate(by_hand)
        runner.register_hook(alternate)
        runner.train()
    ratio = statistics.median(alternate.ratios)
    print(
        f"an epoch on {arguments.count:,} x {arguments.dim} vectors: {ratio:.2f} times that by hand ({ALLOWED} allowed)"
    )
    sys.exit(ratio > ALLOWED)


if __name__ == "__main__":
    main()
