"""What ``train_cfg.precision``, ``channels_last`` and ``compile`` make of an epoch, and of Recall@1."""

from __future__ import annotations

import gc
import itertools
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from step_epochs import Run, measure

from metricforge import build_runner
from metricforge.backbones.timm_arguments import timm_arguments
from metricforge.functional.fast_bfloat16 import has_fast_bfloat16

Switches = Mapping[str, Any]
PLAIN: Switches = dict(precision="fp32", channels_last=False, compile=False)
NETWORKS = ("resnet18",)
IMAGES, STEPS = 8, 2
SEEDS = (0, 1, 2)


def switched_run(network: str) -> Run:
    """An epoch of ``network`` on pictures of 128 pixels."""
    size = dict(img_size=128) if "img_size" in (timm_arguments(network) or ()) else {}
    backbone = dict(type="TimmBackbone", name=network, **size)
    return backbone, dict(type="NoiseDataset", count=IMAGES * STEPS, size=128), IMAGES, STEPS


def combinations(device: torch.device, compiled: bool) -> list[Switches]:
    """Those that are worth measuring on ``device``."""
    precisions = ("fp32", "bf16") if has_fast_bfloat16(device) else ("fp32",)
    found: list[Switches] = [
        dict(precision=precision, channels_last=last, compile=compiling)
        for compiling, precision, last in itertools.product((False, True)[: 1 + compiled], precisions, (False, True))
    ]
    if device.type == "cuda":  # a processor computes no faster in it
        found.append(dict(precision="fp16", channels_last=True, compile=False))
    return found


def measure_switches(
    networks: Sequence[str], device: torch.device, rounds: int, workers: int, compiled: bool
) -> tuple[float, Switches]:
    """Print a row for each combination; return the smallest of the networks' best ratios, and what was fastest there.

    The loop by hand is plain float32, and is timed anew beside each combination.
    """
    print(f"{'':<24}{'precision':>10}{'channels last':>15}{'compiled':>10}{'by hand':>10}{'ours':>8}{'times':>7}")
    best: dict[str, tuple[float, Switches]] = {}
    for name in networks:
        for switches in combinations(device, compiled):
            by_hand, ours, ratio = measure(switched_run(name), device, rounds, workers, **switches)
            told = f"{switches['precision']:>10}{_said(switches['channels_last']):>15}{_said(switches['compile']):>10}"
            print(f"{name:<24}{told}{by_hand:>10,.1f}{ours:>8,.1f}{ratio:>7.2f}", flush=True)
            if name not in best or ratio > best[name][0]:
                best[name] = ratio, switches
            torch.compiler.reset()  # the next combination compiles for itself
            gc.collect()
    for name, (ratio, switches) in best.items():
        print(f"fastest for {name}: {ratio:.2f} times the loop by hand, by {_in_words(switches)}")
    return min(best.values(), key=lambda found: found[0])


def compare_recall(switches: Switches, device: torch.device) -> bool:
    """Train GlyphNet on Glyphs with ``switches`` and in plain float32; print Recall@1; return whether it is equal.

    It is if the mean over the seeds is no further from that of plain float32 than its seeds are from each other.
    """
    print(f"\nRecall@1 on Glyphs, in per cent: {_in_words(switches)}, beside plain float32")
    found: list[tuple[float, float]] = []
    for seed in SEEDS:
        plain, switched = (100 * _recall(each, seed, device) for each in (PLAIN, switches))
        found.append((plain, switched))
        print(f"seed {seed}: {switched:.1f} beside {plain:.1f}", flush=True)
    plains, others = zip(*found, strict=True)
    apart, spread = statistics.mean(others) - statistics.mean(plains), max(plains) - min(plains)
    equal = abs(apart) <= spread
    print(
        f"means: {statistics.mean(others):.2f} beside {statistics.mean(plains):.2f}, {apart:+.2f}; the seeds of plain "
        f"float32 are {spread:.2f} apart: {'equal' if equal else 'not equal'}"
    )
    return equal


def _recall(switches: Switches, seed: int, device: torch.device) -> float:
    """Recall@1 on the test classes of Glyphs after the recipe's epochs."""
    overrides = {
        **{f"train_cfg.{name}": value for name, value in switches.items()},
        "train_dataloader.num_workers": 0,
        "evaluators": [dict(type="RecallAtK", ks=[1])],
        "checkpoint.save_best": None,
        "validation": None,
        "baselines": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(
            "normsoftmax_glyphs",
            overrides=overrides,
            seed=seed,
            work_dir=Path(folder) / "run",
            device=device,
            console=Console(quiet=True),
        )
        runner.train()
        return runner.last_scores["recall@1"]


def _in_words(switches: Switches) -> str:
    named = [str(switches["precision"])]
    named += [word for key, word in (("channels_last", "channels last"), ("compile", "compiled")) if switches[key]]
    return ", ".join(named)


def _said(value: bool) -> str:
    return "yes" if value else "no"
