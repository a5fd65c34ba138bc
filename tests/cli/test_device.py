"""A --device that cannot be used is one line that names those there are, in every command that takes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.backbones import RawPixels
from metricforge.cli.main import main
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.heads import EmbeddingHead
from metricforge.index import build_index
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity

COMMANDS = [
    "embed bundle photos --out out",
    "index bundle photos --out out",
    "index add index photos",
    "index calibrate index photos",
    "index migrate index other",
    "frontier bundle photos --out out",
    "search index photos/a/0.png",
    "serve index --port 0",
]
DEVICES = ["cuda:999", "nonsense", "meta", ""] + ([] if torch.cuda.is_available() else ["cuda", "xpu"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, two models and an index."""
    root = tmp_path_factory.mktemp("devices")
    draws = np.random.default_rng(0)
    for name in ("a/0", "a/1", "b/0", "b/1"):
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(root / "photos" / f"{name}.png")
    for name, size in (("bundle", 2), ("other", 3)):
        architecture = dict(
            backbone=dict(type="RawPixels", height=size, width=size),
            head=dict(type="EmbeddingHead"),
            similarity=dict(type="CosineSimilarity"),
        )
        description = ModelDescription(architecture, preprocessing=(dict(type="Resize", size=(size, size)),))
        parts = RawPixels(height=size, width=size), EmbeddingHead(feature_dim=3 * size**2), CosineSimilarity()
        model = EmbeddingModel(MetricLearner(*parts), description, torch.device("cpu"), name)
        model.save(root / name)
        if name == "bundle":
            build_index(model, open_collection(root / "photos"), root / "index")
    return root


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_cannot_be_used_is_told_in_one_line(folder, monkeypatch, capsys, command, device):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--device", device])
    assert left.value.code == 1
    told = capsys.readouterr().err
    assert f"--device {device}: cannot be used; this machine has cpu" in told
    assert "Traceback" not in told
    assert not (folder / "out" / "index.json").exists()


@pytest.mark.parametrize("command", ["export bundle --out out", "duplicates index"])
def test_a_command_that_computes_on_the_processor_alone_takes_no_device(folder, monkeypatch, capsys, command):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--device", "cpu"])
    assert left.value.code == 2
    assert "unrecognized arguments: --device cpu" in capsys.readouterr().err
