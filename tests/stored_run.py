"""A small run, stopped halfway, of each release: later ones must resume it.

python tests/stored_run.py    # before a release: stores one of this version in tests/stored_runs
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from determinism import here

from metricforge import build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.version import __version__

RUNS = Path(__file__).parent / "stored_runs"
STOPS, ENDS = 3, 6  # epochs


def config(epochs: int = ENDS) -> dict[str, Any]:
    """Random mining, dropout, AdamW and a schedule, on vectors: few weights, and everything that a resume restores."""
    images = dict(type="VectorDataset", file="vectors.npz", root=".", train_fraction=0.5)
    return dict(
        model=dict(
            backbone=dict(type="IdentityBackbone", feature_dim=6),
            head=dict(type="EmbeddingHead", dim=4, dropout=0.2),
            miner=dict(type="RandomTripletMiner"),
            loss=dict(type="TripletLoss", margin=0.5),
        ),
        train_dataloader=dict(
            dataset=images | dict(split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=3),
        ),
        test_dataloader=dict(dataset=images | dict(split="test")),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-2)),
        param_scheduler=[dict(type="CosineAnnealingLR", T_max=ENDS, begin=0, end=ENDS, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=epochs),
        seed=5,
    )


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights that a checkpoint holds."""
    weights: dict[str, torch.Tensor] = load_checkpoint(path)["state_dict"]
    return weights


def hash_of(weights: dict[str, torch.Tensor]) -> str:
    """A hash over names and bytes of ``weights``."""
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode() + weight.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Train to the end, keep the checkpoint halfway, and what the end was."""
    torch.set_num_threads(1)
    target = RUNS / __version__
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        generator = np.random.default_rng(0)
        labels = np.arange(8).repeat(6)
        vectors = (generator.normal(size=(8, 6))[labels] + generator.normal(size=(48, 6))).astype(np.float32)
        np.savez("vectors.npz", embeddings=vectors, labels=labels)
        settings = config() | dict(checkpoint=dict(max_keep=ENDS))
        runner = build_runner(settings, work_dir="run", device="cpu")
        runner.train()
        batches = len(runner.train_dataloader)
        halfway, end = (Path("run") / f"iter_{epochs * batches}.pth" for epochs in (STOPS, ENDS))
        for file in (Path("vectors.npz"), halfway):
            (target / file.name).write_bytes(file.read_bytes())
        weights = weights_of(end)
        record = {"holds for": here(), "ends after": ENDS * batches, "hash": hash_of(weights)}
        record |= {"weights": {name: weight.flatten().tolist() for name, weight in weights.items()}}
        (target / "end.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
