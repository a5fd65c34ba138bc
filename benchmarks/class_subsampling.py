"""One training step of NormSoftmax's proxies: 1,000,000 classes of which 10,000 are drawn, against 10,000 classes.

    python benchmarks/class_subsampling.py

A step is forward, backward and SGD with momentum and weight decay, embeddings (128, 128), on one thread. The steps of
the two tables alternate, and the ratio printed is that of their medians, beside the step of the smaller table without
subsampling. Both sampled losses draw the same number of classes. Exits with 1 where the ratio is above 1.5.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from metricforge_normsoftmax import NormSoftmaxLoss

from metricforge import step_touched_rows

BATCH = 128
DIM = 128
ALLOWED = 1.5


def step_of(num_classes: int, class_ratio: float | None, device: torch.device) -> Callable[[], float]:
    """A function that trains one step and returns its seconds."""
    loss = NormSoftmaxLoss(num_classes, DIM, class_ratio=class_ratio).to(device)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    step_touched_rows(optimizer)
    embeddings = torch.randn(BATCH, DIM, device=device, requires_grad=True)

    def step() -> float:
        labels = torch.randint(num_classes, (BATCH,), device=device)
        _wait(device)
        started = time.perf_counter()
        optimizer.zero_grad()
        loss(embeddings, labels).total.backward()
        assert class_ratio is None or (loss.proxies.grad is not None and loss.proxies.grad.is_sparse)
        optimizer.step()
        _wait(device)
        return time.perf_counter() - started

    return step


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> int:
    """Measure, print, and return 1 where the ratio is above what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--sampled", type=int, default=10_000, help="drawn from either table in each step")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = {
        "large, sampled": (arguments.classes, arguments.sampled / arguments.classes),
        "small, all sampled": (arguments.sampled, 1.0),
        "small, dense": (arguments.sampled, None),
    }
    steps = {name: step_of(classes, ratio, arguments.device) for name, (classes, ratio) in settings.items()}
    for _ in range(5):  # the first makes the momentum, which is no cost of a step
        for step in steps.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.steps):
        for name, step in steps.items():
            seconds[name].append(step())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, (classes, _) in settings.items():
        print(f"{name:<20} {classes:>9,} x {DIM}  {1000 * medians[name]:7.1f} ms a step")
    ratio = medians["large, sampled"] / medians["small, all sampled"]
    dense = medians["large, sampled"] / medians["small, dense"]
    print(f"large / small, the same number sampled: {ratio:.2f} (allowed {ALLOWED}); large / small, dense: {dense:.2f}")
    return int(ratio > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
