"""Small runs of the recipes that need no download, and the hashes of the weights that they end with.

python tests/determinism.py            # compare with tests/determinism.json
python tests/determinism.py --write    # write it anew: what changed belongs into the changelog
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

from metricforge import build_runner
from metricforge.config_files import find_config

FILE = Path(__file__).with_suffix(".json")
CONFIGS = Path(__file__).parents[1] / "configs"
UPDATES = 2
OVERRIDES = {
    "baselines": None,
    "validation": None,
    "readout": None,
    "train_cfg.val_interval": 0,
    "train_cfg.max_epochs": 1,
    "checkpoint.save_best": None,
    "train_dataloader.num_workers": 0,
}


class StopsEarly(Hook):
    """Ends a training after ``UPDATES`` updates."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.train_loop.stop_training = runner.iter + 1 == UPDATES


def recipes() -> list[str]:
    """The configs whose images are made on the spot."""
    return sorted(path.stem for path in CONFIGS.glob("*_glyphs*.py"))


def here() -> dict[str, str]:
    """What the last bits depend on beside the code."""
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
    told = [f"{key} {facts[key]}" for key in ("model name", "cpu family", "model") if key in facts]
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "processor": ", ".join(told) or platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def hash_of(recipe: str) -> str:
    """The hash of the weights after some updates on one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(find_config(recipe), overrides=OVERRIDES, work_dir=folder, device="cpu")
        runner.register_hook(StopsEarly())
        runner.train()
        digest = hashlib.sha256()
        for name, weight in runner.model.state_dict().items():
            digest.update(name.encode() + weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def recorded() -> dict[str, Any]:
    """What the file says."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def elsewhere() -> str:
    """Why the file's hashes need not hold here; empty if they must."""
    found, wanted = here(), recorded()["holds for"]
    known = {name: its if isinstance(its, list) else [its] for name, its in wanted.items()}  # several give the same
    differing = [
        f"{name} {found[name]} instead of {' or '.join(its)}" for name, its in known.items() if found[name] not in its
    ]
    return f"the hashes hold for another machine: {', '.join(differing)}" if differing else ""


def main() -> None:
    """Compare the runs with the file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file anew")
    arguments = parser.parse_args()
    hashes = {recipe: hash_of(recipe) for recipe in recipes()}
    if arguments.write:
        content = {"holds for": here(), "updates": UPDATES, "hashes": hashes}
        FILE.write_text(json.dumps(content, indent=2) + "\n")
        return
    wanted = recorded()["hashes"]
    differing = sorted(recipe for recipe in hashes | wanted if hashes.get(recipe) != wanted.get(recipe))
    sys.exit(f"{elsewhere() or 'other weights than recorded'}: {', '.join(differing)}" if differing else 0)


if __name__ == "__main__":
    main()
