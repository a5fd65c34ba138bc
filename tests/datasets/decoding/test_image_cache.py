from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge import build_runner
from metricforge.datasets import ImageFileDataset
from metricforge.errors import ConfigError, DatasetError, UnreadableImageError

SQUASH = [dict(type="Resize", size=(48, 48)), dict(type="RandomCrop", size=40), dict(type="RandomHorizontalFlip")]
SHORT_SIDE = [dict(type="Resize", size=50), dict(type="RandomResizedCrop", size=32)]


@pytest.fixture
def make(tmp_path):
    """Two files, a JPEG and a PNG, and data sets of them."""
    for number, name in enumerate(("a.jpg", "b.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((240, 180)).save(tmp_path / name)

    def build(transform, **arguments) -> ImageFileDataset:
        files, names = ["a.jpg", "b.png"], ["a", "b"]
        return ImageFileDataset(
            root=tmp_path,
            files=files,
            name="x",
            split="train",
            labels=[0, 1],
            class_names=names,
            transform=transform,
            **arguments,
        )

    return build


@pytest.fixture
def decoded(monkeypatch):
    """Which files were opened, in order."""
    seen = []
    decode = ImageFileDataset._decode
    monkeypatch.setattr(ImageFileDataset, "_decode", lambda self, i: seen.append(i) or decode(self, i))
    return seen


def images(dataset):
    out = []
    for seed in range(6):
        torch.manual_seed(seed)
        out.append((dataset[seed % 2]["image"], torch.rand(1).item()))
    return out


def same(one, other):
    return all(torch.equal(a, b) and x == y for (a, x), (b, y) in zip(one, other, strict=True))


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("transform", [SQUASH, SHORT_SIDE])
def test_kept_images_are_those_of_the_files_bit_for_bit_and_decoded_once(make, tmp_path, decoded, transform, reduce):
    without, with_cache = make(transform), make(transform)
    without.reduced_decoding = with_cache.reduced_decoding = reduce
    with_cache.cache_in(tmp_path / "kept")
    expected = images(without)
    decoded.clear()
    assert same(images(with_cache), expected)
    assert decoded == [0, 1]
    again = make(transform)
    again.reduced_decoding = reduce
    again.cache_in(tmp_path / "kept")
    assert same(images(again), expected)
    assert decoded == [0, 1]


def test_a_file_that_changed_is_made_anew(make, tmp_path, decoded):
    dataset = make(SQUASH)
    dataset.cache_in(tmp_path / "kept")
    before = images(dataset)
    state = (tmp_path / "b.png").stat()
    Image.new("RGB", (240, 180), "red").save(tmp_path / "b.png")
    assert not same(images(dataset), before)
    assert dataset[1]["image"][:, 5, 5].tolist() == [255, 0, 0]
    os.utime(tmp_path / "b.png", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    decoded.clear()
    images(dataset)
    assert decoded == [1]


def test_another_recipe_decoding_or_box_is_never_served_what_was_kept_for_one(make, tmp_path, decoded):
    other_size = [dict(type="Resize", size=(48, 47)), dict(type="CenterCrop", size=40)]
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 100]], dtype=np.int32)
    reduced = make(SQUASH)
    reduced.reduced_decoding = True
    bicubic = [dict(type="Resize", size=(48, 48), interpolation="bicubic"), *SQUASH[1:]]
    for dataset in (make(SQUASH), make(other_size), make(SQUASH, boxes=boxes), reduced, make(bicubic)):
        expected = images(dataset)
        dataset.cache_in(tmp_path / "kept")
        decoded.clear()
        assert same(images(dataset), expected)
        assert decoded == [0, 1]


def test_a_reader_of_its_own_shares_nothing(make, tmp_path):
    class Black(ImageFileDataset):
        def load(self, index):
            return Image.new("RGB", (60, 60))

    plain = make(SQUASH)
    plain.cache_in(tmp_path / "kept")
    images(plain)
    own = make(SQUASH)
    own.__class__ = Black
    own.cache_in(tmp_path / "kept")
    assert own[0]["image"].max() == 0


def test_a_file_that_lost_its_end_is_made_anew(make, tmp_path):
    dataset = make(SQUASH)
    expected = images(dataset)
    dataset.cache_in(tmp_path / "kept")
    images(dataset)
    kept = [file for file in dataset.cache.folder.rglob("*") if file.is_file() and file.name != "transform.txt"]
    assert [file.stat().st_size for file in kept] == [8 + 48 * 48 * 3] * 2
    kept[0].write_bytes(kept[0].read_bytes()[:-5])
    kept[1].write_bytes(b"")
    assert same(images(dataset), expected)
    assert [file.stat().st_size for file in kept] == [8 + 48 * 48 * 3] * 2


def test_what_cannot_be_written_leaves_nothing_half_made(make, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    dataset = make(SQUASH)
    dataset.cache_in(tmp_path / "kept")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        DatasetError, match=r"cannot be written \(No space left on device\); free some space, name another"
    ):
        dataset[0]
    assert [file.name for file in dataset.cache.folder.rglob("*") if file.is_file()] == ["transform.txt"]


def test_a_disk_without_room_is_said_before_training(make, tmp_path, monkeypatch):
    dataset = make(SQUASH)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 48 * 48 * 3 - 1))
    with pytest.raises(DatasetError, match=r"needs 0\.0 GB more for all 2 images, and its disk has 0\.0 GB free"):
        dataset.cache_in(tmp_path / "kept")


@pytest.mark.parametrize("transform", [None, SQUASH[1:]])
def test_a_recipe_that_begins_at_random_is_refused_with_the_way_out(make, tmp_path, transform):
    with pytest.raises(DatasetError, match=r"first transform must be Resize or CenterCrop.* put dict\(type=\"Resize\""):
        make(transform).cache_in(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_unreadable_and_absent_files_are_the_errors_they_are_without(make, tmp_path):
    dataset = make(SQUASH)
    dataset.cache_in(tmp_path / "kept")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "b.png").unlink()
    for index in range(2):
        with pytest.raises(UnreadableImageError, match=r"[ab]\.\w+ cannot be read as an image"):
            dataset[index]


def test_a_run_with_caches_ends_with_the_weights_of_one_without(tiny_config, tmp_path, capsys):
    for loader in ("train_dataloader", "test_dataloader"):
        steps = tiny_config[loader]["dataset"]["transform"]
        tiny_config[loader]["dataset"]["transform"] = [dict(type="Resize", size=(20, 20)), *steps]
    tiny_config["train_cfg"]["max_epochs"] = 2
    weights = []
    for name, cache in (("plain", None), ("filling", "kept"), ("filled", "kept")):
        for loader in ("train_dataloader", "test_dataloader"):
            if cache:
                tiny_config[loader] |= {"cache": str(tmp_path / cache), "num_workers": 2}
        runner = build_runner(tiny_config, work_dir=tmp_path / name, device="cpu")
        runner.describe()
        runner.train()
        weights.append(torch.cat([p.flatten() for p in runner.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert capsys.readouterr().out.count("GB when all 24 images are in it") == 4


def test_a_cache_of_images_that_are_no_files_is_a_fault(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["cache"] = 5
    with pytest.raises(ConfigError, match=r"train_dataloader\.cache: 5 must be the name of a folder"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    tiny_config["train_dataloader"] |= {"cache": str(tmp_path), "dataset": dict(type="GlyphDataset", split="train")}
    with pytest.raises(ConfigError, match=r"train_dataloader\.cache: the images of GlyphDataset are not files"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
