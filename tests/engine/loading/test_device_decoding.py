"""Decoding where the model is: the same images, boxes and draws as from the workers; whose fault an error is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge import build_runner
from metricforge.datasets import ImageFileDataset, ImageFolderDataset
from metricforge.engine.loading import device_decoding
from metricforge.engine.loading.data_loading import build_test_loader, build_train_loader
from metricforge.errors import ConfigError, DatasetError, UnreadableImageError
from metricforge.samplers import RandomBatchSampler

CPU = torch.device("cpu")
AT_RANDOM = [
    dict(type="RandomResizedCrop", size=20),
    dict(type="RandomHorizontalFlip"),
    dict(type="ColorJitter", brightness=0.5),
]


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of JPEGs, one of them grey, one sideways, one that is a PNG, one of CMYK."""
    for number in range(12):
        file = tmp_path / "images" / f"class_{number % 2}" / f"{number:02}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        image, options = picture(number), {}
        if number == 3:
            image = image.convert("L")
        if number == 4:
            options["exif"] = Image.Exif()
            options["exif"][0x0112] = 6
        if number == 5:
            file = file.with_suffix(".png")
        if number == 6:
            image = image.convert("CMYK")
        image.save(file, **options)
    return tmp_path / "images"


def read(folder: Path, transform: list[dict[str, Any]], later: bool) -> ImageFileDataset:
    dataset = ImageFolderDataset(folder, split="all", transform=transform)
    dataset.decodes_later = later
    return dataset


def test_evaluation_has_pillow_s_pixels_up_to_the_decoder_s_last_bits(folder):
    transform = [dict(type="CenterCrop", size=32)]
    batches = [
        list(build_test_loader(read(folder, transform, later), batch_size=5, num_workers=0, device=CPU))
        for later in (False, True)
    ]
    for by_workers, on_device in zip(*batches, strict=True):
        assert on_device["image"].dtype == torch.uint8
        assert on_device["label"].tolist() == by_workers["label"].tolist()
        assert on_device["id"].tolist() == by_workers["id"].tolist()
        difference = on_device["image"].int() - by_workers["image"].int()
        assert difference.abs().max() <= 2


@pytest.mark.parametrize("workers", [0, 2])
def test_training_draws_what_the_workers_would_have_drawn(folder, workers):
    batches = []
    for later in (False, True):
        dataset = read(folder, AT_RANDOM, later)
        sampler = RandomBatchSampler(dataset.labels, 4)
        loader = build_train_loader(dataset, sampler, seed=7, num_workers=workers, device=CPU)
        loader.batch_sampler.set_position(1)
        torch.manual_seed(later)  # what was drawn before is of no account
        batches.append(list(loader))
    for by_workers, on_device in zip(*batches, strict=True):
        assert on_device["id"].tolist() == by_workers["id"].tolist()
        assert (on_device["image"].int() - by_workers["image"].int()).abs().float().mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_before_their_box_is_cut_out(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a/0.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir()
        picture(orientation).save(tmp_path / name, exif=exif, quality=95, subsampling=0)
    boxes = np.array([[3, 5, 33, 35]] * 2, dtype=np.int32)
    options = dict(root=tmp_path, files=["a/0.jpg", "b/1.jpg"], name="two", split="all", labels=[0, 1])
    first, second = (ImageFileDataset(**options, class_names=["a", "b"], boxes=boxes) for _ in range(2))
    second.decodes_later = True
    ours, theirs = (
        next(iter(build_test_loader(each, batch_size=2, num_workers=0, device=CPU)))["image"]
        for each in (first, second)
    )
    assert ours.shape == theirs.shape == (2, 3, 30, 30)
    assert (ours.int() - theirs.int()).abs().max() <= 2


def first_batch(dataset: ImageFileDataset) -> dict[str, torch.Tensor]:
    return next(iter(build_test_loader(dataset, batch_size=6, num_workers=0, device=CPU)))


def test_an_image_that_is_cut_off_is_named(folder):
    broken = folder / "class_1" / "01.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    dataset = ImageFolderDataset(folder, split="all", transform=[dict(type="CenterCrop", size=32)])
    dataset.decodes_later = True
    loader = build_test_loader(dataset, batch_size=12, num_workers=0, device=CPU)
    with pytest.raises(
        UnreadableImageError, match=r"01\.jpg cannot be read as an image \(.*truncated.*decode=\"fast\""
    ):
        list(loader)


def test_a_device_that_cannot_decode_is_no_image_s_fault(folder, monkeypatch):
    decode = device_decoding.io.decode_jpeg

    def not_built(images, mode, device="cpu"):
        if isinstance(images, list):
            raise RuntimeError("decode_jpegs_cuda, decode_jpegs_cuda.cpp:12, torchvision not compiled with nvJPEG")
        return decode(images, mode=mode)

    monkeypatch.setattr(device_decoding.io, "decode_jpeg", not_built)
    with pytest.raises(DatasetError, match=r"cannot decode these JPEGs on cpu \(.*nvJPEG\); set decode=\"fast\""):
        first_batch(read(folder, [dict(type="CenterCrop", size=32)], later=True))


def test_a_torchvision_without_a_decoder_is_named(folder, monkeypatch):
    monkeypatch.delattr(device_decoding.io, "decode_jpeg")
    with pytest.raises(DatasetError, match=r'this torchvision decodes no JPEGs.*set decode="fast"'):
        first_batch(read(folder, [dict(type="CenterCrop", size=32)], later=True))


def test_images_of_unlike_size_are_named_with_the_way_out(folder):
    with pytest.raises(DatasetError, match=r"is \(3, 48, 40\) after the transform .* end with a crop"):
        first_batch(read(folder, [], later=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(decode="gpu"), r'train_dataloader.decode: \'gpu\' must be "full", "fast" or "device"'),
        (dict(decode="device", unreadable="skip"), r"train_dataloader.unreadable: 'skip' is for images that workers"),
        (dict(decode="device", cache="kept"), r"train_dataloader.cache: 'kept' is for images that workers decode"),
        (
            dict(decode="device", dataset=dict(type="GlyphDataset", split="train")),
            r"train_dataloader.decode: .* are not files",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(tiny_config, tmp_path, changes, message):
    tiny_config["train_dataloader"].update(changes)
    with pytest.raises(ConfigError, match=message):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
