from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from metricforge.datasets.jpeg_file import FACTORS, JpegFile


def photo(height, width, seed=0):
    """Smooth colours with edges and some grain, as a camera gives them."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (20, 200, 90)
    return Image.fromarray((pixels + generator.integers(-6, 7, pixels.shape)).clip(0, 255).astype(np.uint8))


def as_jpeg(path, image, **options):
    image.save(path, format="JPEG", quality=92, **options)
    return path


def by_pillow(path):
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def array(pixels):
    return pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "optimize": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_full_size_is_bit_for_bit_pillows(tmp_path, options, mode):
    path = as_jpeg(tmp_path / "a.jpg", photo(75, 101).convert(mode), **options)
    jpeg = JpegFile.open(path.read_bytes())
    assert (jpeg.height, jpeg.width) == (75, 101)
    assert np.array_equal(array(jpeg.pixels()), by_pillow(path))


def test_an_approximate_picture_differs_from_pillows_by_about_a_level(tmp_path):
    path = as_jpeg(tmp_path / "a.jpg", photo(240, 320))
    difference = array(JpegFile.open(path.read_bytes()).pixels(approximate=True)).astype(float) - by_pillow(path)
    assert 0 < np.abs(difference).mean() < 2
    assert abs(difference.mean()) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright_as_pillow_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = as_jpeg(tmp_path / "a.jpg", photo(40, 56), exif=exif)
    jpeg = JpegFile.open(path.read_bytes())
    expected = by_pillow(path)
    assert (jpeg.height, jpeg.width) == expected.shape[:2]
    assert np.array_equal(array(jpeg.pixels()), expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("height", "width"), [(240, 320), (243, 317), (121, 161)])
def test_a_fraction_of_the_size_looks_like_the_full_picture_averaged(tmp_path, factor, height, width):
    path = as_jpeg(tmp_path / "a.jpg", photo(height, width))
    small = array(JpegFile.open(path.read_bytes()).pixels(factor)).astype(float)
    assert small.shape == (-(-height // factor), -(-width // factor), 3)
    whole_blocks = by_pillow(path)[: height // factor * factor, : width // factor * factor].astype(float)
    blocks = whole_blocks.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3))
    assert np.abs(small[: len(blocks), : blocks.shape[1]] - blocks).mean() < 2


def test_other_formats_cmyk_and_what_is_no_image_are_left_to_pillow(tmp_path):
    photo(20, 20).save(tmp_path / "a.png")
    as_jpeg(tmp_path / "cmyk.jpg", photo(20, 20).convert("CMYK"))
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("a.png", "cmyk.jpg", "text.jpg"):
        assert JpegFile.open((tmp_path / name).read_bytes()) is None


def test_a_truncated_file_is_left_to_pillow(tmp_path):
    stream = io.BytesIO()
    photo(100, 100).filter(ImageFilter.DETAIL).save(stream, format="JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:-500])
    assert JpegFile.open((tmp_path / "a.jpg").read_bytes()).pixels() is None


def test_what_lies_beside_a_picture_in_its_file_is_looked_for_in_its_segments_alone(tmp_path, monkeypatch):
    opened = []
    image_open = Image.open
    monkeypatch.setattr(Image, "open", lambda source: opened.append(source) or image_open(source))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "comment.jpg", comment=b"Exif and Orientation, in words")
    picture.save(tmp_path / "turned.jpg", exif=turned)
    assert (JpegFile.open((tmp_path / "comment.jpg").read_bytes()).height, opened) == (40, [])
    assert (JpegFile.open((tmp_path / "turned.jpg").read_bytes()).height, len(opened)) == (60, 1)
