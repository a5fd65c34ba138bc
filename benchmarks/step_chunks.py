"""A step in chunks beside the same step in one piece: its time, its gradients, its memory."""

from __future__ import annotations

import copy
import gc
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper
from step_epochs import clock_of

from metricforge.models import MetricLearner


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
