"""How much memory a checkpoint of a shared-out backbone takes of each process: gathered into one file, and in shards.

python benchmarks/checkpoint_memory.py --weights 25
"""

from __future__ import annotations

import argparse
import ctypes
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from metricforge import BACKBONES, build_runner
from metricforge.interfaces import Backbone
from metricforge.testing import run_in_processes

WIDTH = 1000
warnings.filterwarnings("ignore", message=".* replaces the backbone")  # each process runs this file twice


@BACKBONES.register_module(force=True)
class MillionsOfWeights(Backbone):
    """Layers of a million weights each, on vectors (B, ``WIDTH``)."""

    takes_images = False
    feature_dim = WIDTH

    def __init__(self, millions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(millions))

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs.float()

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


def config_of(vectors: Path, millions: int, sharded: bool) -> dict[str, Any]:
    """A training of two updates, in full sight of its one checkpoint."""
    rows = dict(type="VectorDataset", file=vectors.name, root=str(vectors.parent), train_fraction=0.5)
    return dict(
        model=dict(backbone=dict(type="MillionsOfWeights", millions=millions), loss=dict(type="TripletLoss")),
        train_dataloader=dict(
            dataset=rows | dict(split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
        ),
        test_dataloader=dict(dataset=rows | dict(split="test")),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-6)),
        train_cfg=dict(max_epochs=1, val_interval=0, shard_backbone=True),
        checkpoint=dict(sharded=sharded, background=False),
    )


def peak_of_a_save(vectors: Path, folder: Path, millions: int, sharded: bool) -> float:
    """MB by which the memory of this process is at most larger while the checkpoint is written than before."""
    config = config_of(vectors, millions, sharded)
    runner = build_runner(config, work_dir=folder, device="cpu", console=Console(file=io.StringIO()))
    write, found = runner.write_checkpoint, []

    def measured(*arguments: Any, **options: Any) -> None:
        ctypes.CDLL(None).malloc_trim(0)  # what was used before and is kept would hide what is needed now
        Path("/proc/self/clear_refs").write_text("5")  # the largest so far counts from here
        before = _status("VmRSS")
        write(*arguments, **options)
        found.append((_status("VmHWM") - before) / 1000)

    runner.write_checkpoint = measured  # type: ignore[method-assign]
    runner.train()
    return max(found)


def _status(name: str) -> int:
    """KB that the system says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def main() -> None:
    """Print the peak of both processes, each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=25, help="millions of weights")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{arguments.weights} million weights, {12 * arguments.weights} MB with AdamW's averages")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = np.random.default_rng(0).normal(size=(16, WIDTH)).astype(np.float32)
        np.savez(folder / "vectors.npz", embeddings=vectors, labels=np.arange(4).repeat(4))
        for way, sharded in (("one file", False), ("in shards", True)):
            given = (folder / "vectors.npz", folder / way, arguments.weights, sharded)
            peaks = run_in_processes(peak_of_a_save, arguments.processes, *given)
            print(f"{way}: {', '.join(f'process {rank} {peak:.0f} MB' for rank, peak in enumerate(peaks))}")


if __name__ == "__main__":
    main()
