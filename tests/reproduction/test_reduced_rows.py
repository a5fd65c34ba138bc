"""Every recipe that a reduced table trains on a folder trains, and gives the scores that its rows show."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metricforge import build_runner
from metricforge.absent_types import FIRST_PARTY_TYPES
from metricforge.config import read_config
from metricforge.plugins import load_plugins
from metricforge.registry import KINDS
from metricforge.reproduction import read_tables

TABLES = read_tables(Path(__file__).parents[2] / "configs" / "tables.yaml", "photos")
# of rows with one config, one stands for all: their options are those of sizes and rates
ROWS = {row.config.stem: row for table in TABLES.values() for row in table.rows if not row.baseline}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 classes of six 16 x 16 images, and a tree of three kinds."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    lines = ["child,parent"]
    for number in range(24):
        folder = root / "images" / f"class_{number:02}"
        folder.mkdir(parents=True)
        colour = rng.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + rng.normal(0, 40, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
        lines.append(f"class_{number:02},kind_{number % 3}")
    (root / "tree.csv").write_text("\n".join([*lines, "kind_0,thing", "kind_1,thing", "kind_2,thing"]))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("stem", sorted(ROWS))
def test_a_recipe_trains_on_a_folder_and_gives_its_rows_scores(stem, photos, tmp_path):
    row = ROWS[stem]
    load_plugins()
    known = {name for kind in KINDS.values() for name in kind.names()}
    named = set(re.findall(r"'([\w.]+)'", repr(read_config(row.config).model.to_dict())))
    if needed := [name for name in named - known if name in FIRST_PARTY_TYPES or name.startswith("pml.")]:
        pytest.skip(f"needs the plug-in that has {', '.join(needed)}")
    options = {
        "data_root": str(photos / "images"),
        "model.backbone": dict(type="GlyphNet", width=4, feature_dim=16),
        "model.head.dim": 8,
        "baselines": None,
        "validation": None,
        "checkpoint.save_best": None,
        "train_dataloader.dataset.transform.0.size": 16,
        "test_dataloader.dataset.transform.0.size": (16, 16),
        "train_dataloader.num_workers": 0,
        "test_dataloader.num_workers": 0,
        "train_cfg.max_epochs": 1,
    }
    if "zero_shot" in stem:
        tree = str(photos / "tree.csv")
        options |= {"evaluators.0.tree": tree, "evaluators.1.evaluators.0.tree": tree}
    if "difficult" in stem:
        options["train_dataloader.sampler.pairs_per_batch"] = 4
    runner = build_runner(row.config, overrides=options, work_dir=tmp_path, device="cpu")
    runner.train()
    scores = {row.prefix + score for score in row.scores}
    assert scores <= set(runner.last_scores)
    assert all(np.isfinite(runner.last_scores[score]) for score in scores)
