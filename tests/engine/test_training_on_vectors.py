"""A head trains on vectors that another tool made."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from metricforge import build_runner
from metricforge.errors import ConfigError

CLASSES = 60
IMAGES = 20  # of a class


@pytest.fixture
def folder(tmp_path):
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    centres = draws.normal(size=(CLASSES, 16))
    signal, noise = draws.normal(size=(2, len(labels), 16))
    vectors = np.concatenate([centres[labels] + 0.3 * signal, 3 * noise], axis=1)
    np.savez(tmp_path / "vectors.npz", embeddings=vectors.astype(np.float32), labels=labels)
    return tmp_path


def build(folder, work_dir, checkpoint=None, **overrides):
    overrides = {"data_root": str(folder), **{key.replace("__", "."): value for key, value in overrides.items()}}
    return build_runner(
        "normsoftmax_vectors",
        overrides=overrides,
        work_dir=work_dir,
        device="cpu",
        console=Console(quiet=True),
        checkpoint=checkpoint,
    )


def test_the_head_learns_to_leave_out_the_noise(folder, tmp_path):
    runner = build(folder, tmp_path / "run", optim_wrapper__optimizer__lr=1e-2)
    runner.train()
    assert runner.last_scores["map@r"] > runner.baseline_scores["vectors"]["map@r"] + 0.1
    protocol = json.loads((tmp_path / "run" / "scores.json").read_text())["protocol"]
    assert protocol["dataset"]["name"] == "vectors.npz test: 600 vectors of 30 classes"


def test_a_checkpoint_gives_the_same_scores_and_needs_no_word_of_the_size(folder, tmp_path):
    runner = build(folder, tmp_path / "run", train_cfg__max_epochs=1)
    runner.train()
    tested = build(folder, tmp_path / "test", checkpoint=runner.scored.file)
    tested.test()
    assert tested.last_scores == runner.last_scores


def test_a_batch_has_all_its_vectors_and_the_head_sees_them_unchanged(folder, tmp_path):
    runner = build(folder, tmp_path / "run", validation=None, checkpoint__save_best=None)
    stored = np.load(folder / "vectors.npz")
    batch = next(iter(runner.train_dataloader))
    assert batch["image"].shape == (30 * 4, 32)
    for vector, label in zip(batch["image"].numpy(), batch["label"].tolist(), strict=True):
        assert (stored["embeddings"][stored["labels"] == label] == vector).all(axis=1).any()
    expected = runner.model.head(batch["image"])
    torch.testing.assert_close(runner.model.embed(batch["image"]), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"model__backbone": dict(type="GlyphNet", _delete_=True)}, "GlyphNet takes images, and train_dataloader"),
        (
            {f"{part}_dataloader__dataset": dict(type="GlyphDataset", _delete_=True) for part in ("train", "test")},
            r"IdentityBackbone takes vectors, and test_dataloader.dataset \(GlyphDataset\) gives images",
        ),
        ({"model__backbone__feature_dim": 31}, "feature_dim: 31 must be 32"),
        ({"train_dataloader__unreadable": "skip"}, "train_dataloader.unreadable"),
        ({"train_dataloader__cache": "cache"}, "the vectors of VectorDataset are not files"),
        ({"train_dataloader__dataset__transform": []}, "transform"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(folder, tmp_path, overrides, said):
    if "train_dataloader__dataset" in overrides:
        overrides |= {"data_root": None}
    with pytest.raises(ConfigError, match=said):
        build(folder, tmp_path / "run", **overrides)
