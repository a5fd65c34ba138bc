"""Runs without pretrained weights: on vectors, and from random weights, when their config asks for a readout."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from metricforge import build_runner, load_model
from metricforge.engine.loops import pooled_features
from metricforge.errors import ConfigError

CLASSES, IMAGES, SIZE = 40, 6, 20  # vectors of 20 numbers, whose signs fill no bytes


@pytest.fixture
def folder(tmp_path):
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    centres = draws.normal(size=(CLASSES, SIZE))
    vectors = centres[labels] + draws.normal(size=(len(labels), SIZE)) * np.linspace(0.2, 3, SIZE)
    np.savez(tmp_path / "vectors.npz", embeddings=vectors.astype(np.float32), labels=labels)
    return tmp_path


def train_on_vectors(folder, work_dir, **overrides):
    shown = io.StringIO()
    overrides = {
        "data_root": str(folder),
        "validation": 0.3,
        "train_cfg.max_epochs": 2,
        "model.head.dim": 16,
        "evaluators": [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR")],
    } | {key.replace("__", "."): value for key, value in overrides.items()}
    console = Console(file=shown, width=200)
    runner = build_runner("normsoftmax_vectors", overrides=overrides, work_dir=work_dir, device="cpu", console=console)
    runner.describe()
    runner.train()
    return runner, shown.getvalue()


def of(loader):
    parts = [(batch["image"].double().numpy(), batch["label"].numpy()) for batch in loader]
    return (np.concatenate(column) for column in zip(*parts, strict=True))


def recall_at_1(rows, labels):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return float((labels[similar.argmax(axis=1)] == labels).mean())


def whitened(known, rows, dim):
    mean = known.mean(axis=0)
    _, singular, axes = np.linalg.svd(known - mean, full_matrices=False)
    return (rows - mean) @ (axes[:dim] / np.sqrt(singular[:dim, None])).T


def test_vectors_are_a_candidate_as_they_are_and_score_what_a_computation_by_hand_finds(folder, tmp_path):
    runner, shown = train_on_vectors(folder, tmp_path / "run")
    table = json.loads((tmp_path / "run" / "readout.json").read_text())["candidates"]
    found = {(each["weights"], each["layer"]): each["scores"]["recall@1"] for each in table}
    rows, labels = of(runner.val_loop.dataloader)
    known, _ = of(runner.readout.fitting)
    assert found["vectors", "pooled"] == pytest.approx(recall_at_1(rows, labels))
    assert found["vectors", "whitened"] == pytest.approx(recall_at_1(whitened(known, rows, 16), labels))
    assert {("vectors", "adapted"), ("trained", "head"), ("trained", "both")} < set(found)
    assert not any("fine-tuned" in weights for weights, _ in found)
    assert "without interpolations, because vectors come without weights" in shown
    assert set(runner.baseline_scores) == {"vectors", "adapted"}


@pytest.mark.parametrize("layers", [["pooled"], ["whitened"], ["adapted"], ["both"]])
def test_what_was_chosen_on_vectors_is_loaded_and_exported(folder, tmp_path, layers):
    runner, _ = train_on_vectors(folder, tmp_path / "run", readout=dict(layers=layers))
    rows = np.load(folder / "vectors.npz")["embeddings"][runner.test_dataloader.dataset._rows[:5]]
    wanted = runner.test_loop.context.queries.embeddings[:5]
    model = load_model(tmp_path / "run", device="cpu")
    assert np.allclose(model.embed(rows), wanted, atol=1e-5)
    assert np.allclose(load_model(model.save(tmp_path / "bundle"), device="cpu").embed(rows), wanted, atol=1e-5)


def test_the_vectors_are_embedded_once_to_validate_them_before_and_after_training(folder, tmp_path, monkeypatch):
    passes = []
    original = pooled_features.embed_dataset

    def noted(model, loader, *arguments, **named):
        passes.append(loader)
        return original(model, loader, *arguments, **named)

    monkeypatch.setattr(pooled_features, "embed_dataset", noted)
    runner, _ = train_on_vectors(folder, tmp_path / "run", readout=dict(average=False))
    assert passes.count(runner.val_loop.dataloader) == 2, "the vectors, and for the trained head"


def from_scratch(config):
    config["model"]["backbone"].pop("weights")
    return config


def test_a_run_from_random_weights_has_a_readout_if_it_asks_for_one(config, tmp_path):
    config = from_scratch(config)
    assert build_runner(config, work_dir=tmp_path / "run", device="cpu").readout is None
    shown = io.StringIO()
    runner = build_runner(
        config | dict(readout=dict()),
        work_dir=tmp_path / "asked",
        device="cpu",
        console=Console(file=shown, width=200),
    )
    runner.describe()
    runner.train()
    table = json.loads((tmp_path / "asked" / "readout.json").read_text())["candidates"]
    weights = {each["weights"] for each in table}
    assert weights == {"untrained", "trained", "mean of 2 checkpoints"}
    assert "without interpolations, because half of the way from random weights is no model" in shown.getvalue()
    assert set(runner.baseline_scores) == {"untrained", "untrained, adapted"}
    assert (tmp_path / "asked" / "chosen.pth").exists()


def test_interpolations_from_random_weights_are_refused(config, tmp_path):
    config = from_scratch(config) | dict(readout=dict(interpolations=[0.5]))
    with pytest.raises(ConfigError, match=r"readout.interpolations: \[0.5\] need pretrained weights: half of the"):
        build_runner(config, work_dir=tmp_path, device="cpu")
