"""Images a second of the whole training loop, beside a loop written by hand with the same model, data and loss.

    python benchmarks/step.py

Ours is ``build_runner(...)``: seeds for every sample and update, checks of the loss, hooks, a log. The loop by hand is
the shortest that trains. Both embed the same data set with the same network, NormSoftmax and AdamW, in this process, in
epochs that alternate: after each epoch of ours, an epoch by hand. Checkpoints and validation, which the other has none
of, are not timed. The ratio is the median of those of neighbouring epochs. On a CPU they are timed in seconds of this
process's processor time, which other work on the machine disturbs least, while a worker reads the images of each
(benchmarks/data.py measures that); ``--workers 0`` reads them in this process, where they count. On a GPU it is the
clock that counts.

``--chunk 64`` measures gradient caching instead: one step with a batch of ``--batch`` images, in chunks of 64, beside
the same step in one piece (time), and beside a step with a batch of 64 (memory). The gradients are compared first.

``--switches`` measures what ``train_cfg.precision``, ``channels_last`` and ``compile`` make of an epoch, each
combination beside the loop by hand in plain float32.

``--no-doctor`` leaves the run doctor out of ours; what it costs is the difference.

Exits with 1 where a ratio is below 0.97, a step in chunks takes more than 1.6 times one piece, or the fastest
combination of switches is less than 1.5 times as fast as the loop by hand, as it is on a processor with bfloat16.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader, Subset

from metricforge import build_runner
from metricforge.backbones.timm_arguments import timm_arguments
from metricforge.datasets import ImageDataset
from metricforge.models import MetricLearner
from metricforge.registry import DATASETS

REQUIRED = 0.97
MOST_TIMES_ONE_PIECE = 1.6
REQUIRED_OF_SWITCHES = 1.5

# name -> backbone, data set, images of a step, steps of an epoch
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], int, int]] = {
    "GlyphNet on Glyphs": (dict(type="GlyphNet"), dict(type="GlyphDataset", split="train"), 128, 6),
    "lite0 on 128 pixels": (
        dict(type="TimmBackbone", name="tf_efficientnet_lite0"),
        dict(type="NoiseDataset", count=24, size=128),
        8,
        3,
    ),
}
SWITCHED = ("resnet18", "vit_small_patch16_224")


def switched_run(network: str) -> tuple[dict[str, Any], dict[str, Any], int, int]:
    """An epoch of ``network`` on pictures of 128 pixels."""
    size = dict(img_size=128) if "img_size" in (timm_arguments(network) or ()) else {}
    backbone = dict(type="TimmBackbone", name=network, **size)
    return backbone, dict(type="NoiseDataset", count=24, size=128), 8, 3


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
    run: tuple[dict[str, Any], dict[str, Any], int, int],
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
    ) | ({} if doctor else dict(doctor=None))
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(config, work_dir=Path(folder) / "run", device=device, console=Console(quiet=True))
        alternation = Alternation(HandWritten(runner, batch, steps, workers), clock)
        runner.register_hook(alternation)
        runner.train()
    counted = alternation.seconds[1:]  # the first warms up
    ours, by_hand = (batch * steps / statistics.median(column) for column in zip(*counted, strict=True))
    return by_hand, ours, statistics.median(hand / own for own, hand in counted)


def measure_switches(networks: list[str], device: torch.device, rounds: int, workers: int, compiled: bool) -> float:
    """Print a row for each combination; return the smallest of the networks' best ratios."""
    print(f"{'':<24}{'precision':>10}{'channels last':>15}{'compiled':>10}{'by hand':>10}{'ours':>8}{'times':>7}")
    best = dict.fromkeys(networks, 0.0)
    for name in networks:
        combinations = list(itertools.product(("fp32", "bf16"), (False, True), (False, True)[: 1 + compiled]))
        if device.type == "cuda":  # a processor computes no faster in it
            combinations.append(("fp16", True, False))
        for precision, last, compiling in combinations:
            switches = dict(precision=precision, channels_last=last, compile=compiling)
            by_hand, ours, ratio = measure(switched_run(name), device, rounds, workers, **switches)
            best[name] = max(best[name], ratio)
            told = f"{precision:>10}{'yes' if last else 'no':>15}{'yes' if compiling else 'no':>10}"
            print(f"{name:<24}{told}{by_hand:>10,.1f}{ours:>8,.1f}{ratio:>7.2f}", flush=True)
    for name, ratio in best.items():
        print(f"fastest for {name}: {ratio:.2f} times the loop by hand")
    return min(best.values())


def measure_chunks(batch: int, chunk: int, device: torch.device, rounds: int) -> float:
    """Print a row and return how many times one piece's time a step in chunks takes."""
    config = dict(
        backbone=dict(type="GlyphNet"), head=dict(type="EmbeddingHead", dim=64), loss=dict(type="MultiSimilarityLoss")
    )
    torch.manual_seed(0)
    model = MetricLearner.from_config(config, num_classes=None).to(device).train()
    for module in model.modules():
        module.training = not isinstance(module, torch.nn.BatchNorm2d)  # normalises each image by itself
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, 40, 40), dtype=torch.uint8, generator=generator)
    labels = torch.arange(batch, device=device) // 4

    def step(learner: MetricLearner, count: int, size: int | None) -> None:
        wrapper = OptimWrapper(torch.optim.SGD(learner.parameters(), lr=0.0), accumulative_counts=10**9)
        learner.train_step({"image": images[:count], "label": labels[:count]}, wrapper, chunk=size)

    whole, cached = copy.deepcopy(model), copy.deepcopy(model)
    step(whole, batch, None)
    step(cached, batch, chunk)
    pairs = [(a.grad, b.grad) for a, b in zip(whole.parameters(), cached.parameters(), strict=True)]
    largest = max(float(a.abs().max()) for a, _ in pairs if a is not None)
    apart = max(float((a - b).abs().max()) for a, b in pairs if a is not None and b is not None) / largest
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        taken = []
        for learner, size in ((whole, None), (cached, chunk)):
            started = clock_of(device)
            step(learner, batch, size)
            taken.append(clock_of(device) - started)
        seconds.append((taken[0], taken[1]))
    runs = {"one piece": (batch, None), "chunks": (batch, chunk), "batch of a chunk": (chunk, None)}
    peaks = {
        name: peak_megabytes(lambda c=count, s=size: step(cached, c, s), device) for name, (count, size) in runs.items()
    }
    ratio = statistics.median(chunks / piece for piece, chunks in seconds)
    print(f"batch {batch}, chunks of {chunk}: gradients {apart:.1e} apart, of the largest; {ratio:.2f} times one piece")
    print("peak memory, MB: " + ", ".join(f"{name} {peak:,.0f}" for name, peak in peaks.items()), flush=True)
    return ratio


def clock_of(device: torch.device) -> float:
    """Seconds of the processor, or of the clock once a GPU has done what it was given."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_megabytes(run: Callable[[], object], device: torch.device) -> float:
    """What ``run`` holds at its peak beyond what was held before; on a CPU as seen every millisecond (Linux)."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    before = resident_megabytes()
    largest, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            largest.append(resident_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return max(largest) - before


def resident_megabytes() -> float:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> int:
    """Measure, print, and return 1 where a ratio is below what is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each that count")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--chunk", type=int, help="measure gradient caching, with so many images in a chunk")
    parser.add_argument("--no-doctor", action="store_true", help="without the run doctor")
    parser.add_argument("--batch", type=int, default=4096, help="images of a step in chunks (default: 4096)")
    parser.add_argument("--switches", action="store_true", help="measure precision, channels_last and compile")
    parser.add_argument("--networks", nargs="+", default=list(SWITCHED), help="of timm, whose switches are measured")
    parser.add_argument("--no-compile", action="store_true", help="leave out the combinations that compile")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.chunk is not None:
        ratio = measure_chunks(arguments.batch, arguments.chunk, arguments.device, arguments.rounds)
        print(f"\nrequired: {MOST_TIMES_ONE_PIECE}; {'met' if ratio <= MOST_TIMES_ONE_PIECE else 'missed'}")
        return int(ratio > MOST_TIMES_ONE_PIECE)
    if arguments.switches:
        with_compile = not arguments.no_compile
        least = measure_switches(
            arguments.networks, arguments.device, arguments.rounds, arguments.workers, with_compile
        )
        print(f"\nrequired: {REQUIRED_OF_SWITCHES}; {'met' if least >= REQUIRED_OF_SWITCHES else 'missed'}")
        return int(least < REQUIRED_OF_SWITCHES)
    print(f"{'images/s':<22}{'by hand':>10}{'ours':>10}{'ratio':>9}")
    ratios = []
    for name, run in RUNS.items():
        doctor = not arguments.no_doctor
        by_hand, ours, ratio = measure(run, arguments.device, arguments.rounds, arguments.workers, doctor)
        print(f"{name:<22}{by_hand:>10,.1f}{ours:>10,.1f}{ratio:>9.3f}", flush=True)
        ratios.append(ratio)
    print(f"\nrequired: {REQUIRED}; {'met' if min(ratios) >= REQUIRED else 'missed'}")
    return int(min(ratios) < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
