"""Epochs of our training loop, each followed by one of a loop written by hand with the same model, data and loss."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from metricforge import build_runner
from metricforge.datasets import ImageDataset
from metricforge.registry import DATASETS

# a backbone, a data set, images of a step, steps of an epoch
Run = tuple[dict[str, Any], dict[str, Any], int, int]


@DATASETS.register_module()
class NoiseDataset(ImageDataset):
    """Random pictures (3, size, size) of eight classes, which are made once and kept."""

    def __init__(self, count: int, size: int) -> None:
        labels = np.arange(count) % 8
        super().__init__(name="Noise", split="train", labels=labels, class_names=[f"{c}" for c in range(8)])
        generator = np.random.default_rng(0)
        self.pictures = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.pictures[index])


class HandWritten:
    """The shortest loop that trains the model of ``runner`` anew."""

    def __init__(self, runner: Any, batch: int, steps: int, workers: int) -> None:
        self.device = runner.device
        model = type(runner.model).from_config(runner.cfg.model, runner.num_classes)
        self.parts = torch.nn.ModuleList([model.backbone, model.head, model.loss]).to(self.device).train()
        self.mean, self.std = (
            255 * torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (model.backbone.mean, model.backbone.std)
        )
        self.optimizer = torch.optim.AdamW(self.parts.parameters(), lr=1e-4)
        self.loader = DataLoader(
            Subset(DATASETS.build(runner.cfg.train_dataloader.dataset), range(batch * steps)),
            batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )

    def run_epoch(self) -> None:
        """All batches once."""
        backbone, head, loss = self.parts
        for batch in self.loader:
            images = batch["image"].to(self.device, non_blocking=True).float().sub_(self.mean).div_(self.std)
            labels = batch["label"].to(self.device, non_blocking=True)
            loss(head(backbone(images)), labels).total.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


class Alternation(Hook):
    """Times each epoch of the runner's, and then one by hand."""

    priority = "HIGHEST"

    def __init__(self, by_hand: HandWritten, clock: Callable[[], float]) -> None:
        self.by_hand = by_hand
        self.clock = clock
        self.seconds: list[tuple[float, float]] = []  # of ours, and by hand

    def before_train_epoch(self, runner: Any) -> None:
        self.started = self.clock()

    def after_train_epoch(self, runner: Any) -> None:
        ours = self.clock() - self.started
        started = self.clock()
        self.by_hand.run_epoch()
        self.seconds.append((ours, self.clock() - started))


def measure(
    run: Run,
    device: torch.device,
    rounds: int,
    workers: int,
    doctor: bool = True,
    **switches: Any,
) -> tuple[float, float, float]:
    """Images a second by hand and ours, with ``switches`` of ``train_cfg``, and the ratio."""

    def clock() -> float:
        return clock_of(device)

    backbone, dataset, batch, steps = run
    config = dict(
        model=dict(backbone=backbone, head=dict(type="EmbeddingHead", dim=64), loss=dict(type="NormSoftmaxLoss")),
        train_dataloader=dict(
            dataset=dataset,
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=8, samples_per_class=batch // 8)
            | dict(batches_per_epoch=steps),
            num_workers=workers,
        ),
        test_dataloader=dict(dataset=dataset),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-4)),
        train_cfg=dict(max_epochs=rounds + 1, val_interval=0, **switches),
        checkpoint=dict(background=False),  # a thread that writes would be timed with whatever runs beside it
    ) | ({} if doctor else dict(doctor=None))
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(config, work_dir=Path(folder) / "run", device=device, console=Console(quiet=True))
        alternation = Alternation(HandWritten(runner, batch, steps, workers), clock)
        runner.register_hook(alternation)
        runner.train()
    counted = alternation.seconds[1:]  # the first warms up
    ours, by_hand = (batch * steps / statistics.median(column) for column in zip(*counted, strict=True))
    return by_hand, ours, statistics.median(hand / own for own, hand in counted)


def clock_of(device: torch.device) -> float:
    """Seconds of the processor, or of the clock once a GPU has done what it was given."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
