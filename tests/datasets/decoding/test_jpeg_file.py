from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from metricforge.datasets.decoding.jpeg_file import FACTORS, JpegFile


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


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "optimize": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_full_size_is_bit_for_bit_pillows(tmp_path, options, mode):
    path = as_jpeg(tmp_path / "a.jpg", photo(75, 101).convert(mode), **options)
    jpeg = JpegFile.open(path.read_bytes())
    assert (jpeg.height, jpeg.width) == (75, 101)
    assert np.array_equal(jpeg.pixels(), by_pillow(path))


def test_an_approximate_picture_differs_from_pillows_by_about_a_level(tmp_path):
    path = as_jpeg(tmp_path / "a.jpg", photo(240, 320))
    difference = JpegFile.open(path.read_bytes()).pixels(approximate=True).astype(float) - by_pillow(path)
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
    assert np.array_equal(jpeg.pixels(), expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("height", "width"), [(240, 320), (243, 317), (121, 161)])
def test_a_fraction_of_the_size_looks_like_the_full_picture_averaged(tmp_path, factor, height, width):
    path = as_jpeg(tmp_path / "a.jpg", photo(height, width))
    small = JpegFile.open(path.read_bytes()).pixels(factor).astype(float)
    assert small.shape == (-(-height // factor), -(-width // factor), 3)
    whole_blocks = by_pillow(path)[: height // factor * factor, : width // factor * factor].astype(float)
    blocks = whole_blocks.reshape(height // factor, factor, width // factor, factor, 3).mean(axis=(1, 3))
    assert np.abs(small[: len(blocks), : blocks.shape[1]] - blocks).mean() < 2


def whole_and_first_rows(data, rows, factor=1):
    """How many rows there are, and how many are decoded if the first ``rows`` are asked for."""
    jpeg = JpegFile.open(data)
    whole, first = jpeg.pixels(factor, approximate=True), jpeg.pixels(factor, approximate=True, rows=rows)
    assert np.array_equal(first[:rows], whole[:rows])
    return len(whole), len(first)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1, "optimize": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("factor", [1, *FACTORS])
@pytest.mark.parametrize(("height", "width"), [(240, 320), (243, 317)])
def test_the_first_rows_are_those_of_the_whole_and_the_others_are_not_decoded(
    tmp_path, options, mode, factor, height, width
):
    data = as_jpeg(tmp_path / "a.jpg", photo(height, width).convert(mode), **options).read_bytes()
    for rows in (1, 7, 15):
        assert whole_and_first_rows(data, rows, factor) == (-(-height // factor), rows)


def test_where_rows_do_not_lie_one_after_the_other_or_stand_otherwise_all_are_decoded(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 3
    for options in ({"progressive": True}, {"restart_marker_rows": 1}, {"exif": turned}):
        data = as_jpeg(tmp_path / "a.jpg", photo(80, 100), **options).read_bytes()
        assert whole_and_first_rows(data, 20) == (80, 80)


def colours_one_after_the_other(image):
    """A JPEG with a scan for each colour, put together of one of each colour alone."""
    alone = []
    for plane in image.convert("YCbCr").split():
        stream = io.BytesIO()
        plane.save(stream, format="JPEG", quality=92)
        alone.append(stream.getvalue())
    frame, scan = alone[0].index(b"\xff\xc0"), alone[0].index(b"\xff\xda")
    size = alone[0][frame + 4 : frame + 9]
    data = alone[0][:frame] + b"\xff\xc0\x00\x11" + size + b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    data += alone[0][frame + 13 : scan]
    for number, plane in enumerate(alone, start=1):
        start = plane.index(b"\xff\xda")
        data += plane[start : start + 5] + bytes([number]) + plane[start + 6 : -2]
    return data + b"\xff\xd9"


def test_a_picture_whose_colours_lie_one_after_the_other_is_decoded_whole(tmp_path):
    image = photo(80, 100)
    data = colours_one_after_the_other(image)
    assert np.abs(JpegFile.open(data).pixels().astype(int) - np.asarray(image)).mean() < 4
    assert whole_and_first_rows(data, 20) == (80, 80)


def test_an_upright_camera_photo_is_decoded_in_part_too(tmp_path):
    upright = Image.Exif()
    upright[0x0112] = 1
    data = as_jpeg(tmp_path / "a.jpg", photo(80, 100), exif=upright).read_bytes()
    assert whole_and_first_rows(data, 20) == (80, 20)


def test_exact_pixels_are_always_those_of_the_whole_picture(tmp_path):
    path = as_jpeg(tmp_path / "a.jpg", photo(80, 100))
    assert np.array_equal(JpegFile.open(path.read_bytes()).pixels(rows=20), by_pillow(path))


def test_a_file_that_is_cut_off_or_damaged_in_the_rows_asked_for_is_left_to_pillow(tmp_path):
    data = as_jpeg(tmp_path / "a.jpg", photo(160, 200)).read_bytes()
    start = data.index(b"\xff\xda") + 200
    marker_inside = data[:start] + b"\xff\x33" + data[start + 2 :]
    for broken in (data[:-2], data[:-500], data[: len(data) // 8], marker_inside):
        assert JpegFile.open(broken).pixels(approximate=True, rows=100) is None


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
