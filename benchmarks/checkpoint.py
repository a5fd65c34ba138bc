"""How long an update waits for a checkpoint that is written in the background, beside one that it waits for.

python benchmarks/checkpoint.py --weights 25 --folder /tmp
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from metricforge.engine.records.checkpoint_writer import CheckpointWriter


def checkpoint_of(millions: float) -> dict[str, Any]:
    """Weights of layers of a million each, with the two averages that AdamW keeps of each."""
    count = max(1, round(millions))
    weights = {f"layer {number}": torch.randn(1000, 1000) for number in range(count)}
    state = {
        number: {"exp_avg": torch.rand(1000, 1000), "exp_avg_sq": torch.rand(1000, 1000)} for number in range(count)
    }
    return {"meta": {"format": 2}, "state_dict": weights, "optimizer": {"state": state}}


def waits(checkpoint: dict[str, Any], folder: Path, repeats: int, *, background: bool) -> list[float]:
    """Seconds that each call of ``write`` takes, where the file before is done by then."""
    writer = CheckpointWriter(background=background, on_error="stop", say=print)
    found = []
    for number in range(repeats):
        began = time.perf_counter()
        writer.write(checkpoint, folder / f"iter_{number}.pth", lambda: None)
        found.append(time.perf_counter() - began)
        writer.finish()
        (folder / f"iter_{number}.pth").unlink()
    return found


def main() -> None:
    """Print both times, the first and the median of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=float, default=25, help="millions of weights")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="on the disk to measure")
    arguments = parser.parse_args()
    checkpoint = checkpoint_of(arguments.weights)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, background in (("waits for the file", False), ("waits for the copy", True)):
            first, *others = waits(checkpoint, Path(folder), arguments.repeats, background=background)
            print(f"{name}: {median(others):.3f} s, the first {first:.3f} s")


if __name__ == "__main__":
    main()
