from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.deployment.given_images import GivenImages, one_or_many
from metricforge.errors import UnreadableImageError

PIXELS = np.random.default_rng(0).integers(0, 256, size=(6, 5, 3), dtype=np.uint8)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.png"
    Image.fromarray(PIXELS).save(path)
    return path


def test_every_form_of_one_image_gives_its_pixels(png: Path):
    forms = [
        str(png),
        png,
        f"file://{png}",
        png.read_bytes(),
        bytearray(png.read_bytes()),
        Image.open(png),
        Image.open(png).convert("RGBA"),
        PIXELS,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
    ]
    images = GivenImages(forms, [])
    for number in range(len(forms)):
        assert np.array_equal(images[number]["image"].permute(1, 2, 0).numpy(), PIXELS), forms[number]


def test_grey_arrays_become_three_equal_channels():
    image = GivenImages([PIXELS[:, :, 0], PIXELS[:, :, :1]], [])[1]["image"]
    assert np.array_equal(image.numpy(), np.repeat(PIXELS[None, :, :, 0], 3, axis=0))


def test_a_picture_taken_sideways_is_turned_upright_in_every_form(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    path = tmp_path / "sideways.png"
    Image.fromarray(PIXELS).save(path, exif=exif)
    images = GivenImages([path, Image.open(path), path.read_bytes()], [])
    for number in range(3):
        assert np.array_equal(images[number]["image"].permute(1, 2, 0).numpy(), np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (PIXELS / 255, "images\\[4\\]: an array must be uint8"),
        (np.zeros((2, 3, 3, 3), np.uint8), "images\\[4\\]: an array must be uint8"),
        (torch.zeros(3, 4, 4), "images\\[4\\]: a tensor must be uint8"),
        (7, "images\\[4\\]: int is not an image"),
    ],
)
def test_what_is_no_image_is_named(image, told):
    with pytest.raises(TypeError, match=told):
        GivenImages([image], [], first=4)


@pytest.mark.parametrize("image", ["absent.png", b"no picture", "file:///absent.png", "nosuch://x/y.png"])
def test_an_image_that_cannot_be_read_is_one_kind_of_error(image):
    with pytest.raises(UnreadableImageError, match=r"absent|images\[0\] \(bytes\)|nosuch"):
        GivenImages([image], [])[0]


def test_one_image_and_an_iterable_are_told_apart(png: Path):
    single = [str(png), png, png.read_bytes(), Image.open(png), PIXELS, torch.zeros(3, 2, 2, dtype=torch.uint8)]
    for image in single:
        assert len(list(one_or_many(image))) == 1
    assert len(list(one_or_many(np.stack([PIXELS, PIXELS, PIXELS])))) == 3
    assert len(list(one_or_many(path for path in [png, png]))) == 2
    with pytest.raises(TypeError, match="got int"):
        one_or_many(7)  # type: ignore[arg-type]


def test_an_array_of_paths_is_many_images_and_an_open_file_is_none(png: Path):
    for paths in (np.array([str(png)] * 2), np.array([png, str(png)], dtype=object)):
        assert [Path(str(image)) for image in one_or_many(paths)] == [png, png]
    with png.open("rb") as file, pytest.raises(TypeError, match=r"give its path or what read\(\) returns"):
        one_or_many(file)


@pytest.mark.parametrize("empty", [PIXELS[:0], torch.zeros(3, 0, 4, dtype=torch.uint8)])
def test_an_image_without_pixels_is_refused(empty):
    with pytest.raises(TypeError, match=r"images\[0\]: .*\b0, "):
        GivenImages([empty], [])


def test_a_path_that_is_no_file_is_told_at_once_and_without_advice_for_training(png: Path):
    os.mkfifo(png.with_name("pipe.png"))
    images = GivenImages([png.with_name("pipe.png"), "a\0b", png.with_name("absent.png"), "memory://absent.png"], [])
    for number, reason in enumerate(
        [
            "it is a named pipe, not a file",
            "embedded null byte",
            "No such file or directory",
            "FileNotFoundError: /absent",
        ]
    ):
        with pytest.raises(UnreadableImageError, match=rf"\({reason}.*\); replace it, or leave it out$"):
            images[number]
