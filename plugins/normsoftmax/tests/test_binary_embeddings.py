import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metricforge import EmbeddingSet, build_runner
from metricforge.errors import ConfigError

CONFIG = Path(__file__).parents[3] / "configs" / "normsoftmax_glyphs_binary.py"


@pytest.fixture
def overrides(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(8):
        (tmp_path / f"images/class_{number}").mkdir(parents=True)
        colour = generator.integers(40, 216, size=3)
        for image in range(5):
            pixels = np.clip(colour + generator.normal(0, 60, size=(40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/class_{number}/{image}.png")
    return {
        "train_dataloader.dataset.type": "ImageFolderDataset",
        "train_dataloader.dataset.split": "train",
        "test_dataloader.dataset.type": "ImageFolderDataset",
        "test_dataloader.dataset.split": "test",
        "data_root": str(tmp_path / "images"),
        "train_dataloader.sampler.classes_per_batch": 2,
        "train_dataloader.num_workers": 0,
        "train_cfg.max_epochs": 1,
        "model.head.dim": 32,
    }


def test_a_run_reports_binary_scores_beside_the_float_ones_with_the_bytes_of_both(overrides, tmp_path):
    runner = build_runner(CONFIG, overrides=overrides, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    written = json.loads((tmp_path / "run" / "scores.json").read_text())
    scores, protocol = written["scores"], written["protocol"]
    assert {"recall@1", "binary/recall@1", "map@r", "binary/map@r", "nmi", "binary/nmi"} <= scores.keys()
    assert protocol["embedding"]["bytes_per_vector"] == 128  # 32 float32
    assert protocol["evaluators"][-1]["counts"]["bytes_per_vector"] == 4  # 32 bits
    assert "binary/recall@1" in protocol["baselines"]["raw pixels"]

    embedded: EmbeddingSet = runner.test_loop.context.queries  # the last evaluation's, scored here by loops
    bits, hits = embedded.embeddings > 0, 0
    for query in range(len(embedded)):
        others = [image for image in range(len(embedded)) if image != query]
        nearest = min(others, key=lambda image, q=query: (int((bits[image] != bits[q]).sum()), image))
        hits += embedded.labels[nearest] == embedded.labels[query]
    assert scores["binary/recall@1"] == pytest.approx(hits / len(embedded))


def test_an_embedding_that_fills_no_bytes_is_refused_before_training(overrides, tmp_path):
    message = r"evaluators\[4\].similarity: dim \(30\) must be a multiple of 8.*give the head 24 or 32 dimensions"
    with pytest.raises(ConfigError, match=message):
        build_runner(CONFIG, overrides=overrides | {"model.head.dim": 30}, work_dir=tmp_path / "run", device="cpu")
