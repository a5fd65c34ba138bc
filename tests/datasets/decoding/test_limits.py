"""A file that asks for more memory than images take is refused by its header, and the limit can be raised."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image
from torchvision.transforms import v2

from metricforge.datasets.decoding.decode_image import decode_image
from metricforge.datasets.decoding.jpeg_file import JpegFile
from metricforge.datasets.decoding.limits import MOST_BYTES, MOST_PIXELS, resizing_excess, shorter_side
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.deployment.given_images import GivenImages
from metricforge.errors import UnreadableImageError


def png(width: int, height: int) -> bytes:
    """A black PNG without ever holding its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(400_000_000, 2), (100_000_000, 1)])
def test_a_bomb_is_refused_before_it_is_decoded(width, height, monkeypatch):
    header = png(8, 8).replace(struct.pack(">II", 8, 8), struct.pack(">II", width, height), 1)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError, match=MOST_PIXELS):
        decode_image(header[:29] + struct.pack(">I", zlib.crc32(header[12:29])) + header[33:])


def test_the_limit_of_pixels_counts_for_every_decoder_and_can_be_raised(monkeypatch):
    jpeg = io.BytesIO()
    Image.new("RGB", (40, 30)).save(jpeg, "JPEG")
    contents = [png(40, 30), jpeg.getvalue()]
    monkeypatch.setenv(MOST_PIXELS, "1199")
    for content in contents:
        with pytest.raises(UnreadableImageError, match=r"it has 40 x 30 pixels, more than the 1,199 .*=1200"):
            decode_image(content)
        assert JpegFile.open(content) is None
    monkeypatch.setenv(MOST_PIXELS, "1200")
    assert [decode_image(content).image.size for content in contents] == [(40, 30)] * 2
    assert JpegFile.open(contents[1]) is not None


def test_a_file_of_more_bytes_than_images_have_is_not_read(tmp_path, monkeypatch):
    file = tmp_path / "x.png"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(OSError, match=rf"1,099,511,627,776 bytes, more than the 536,870,912 .* {MOST_BYTES}="):
        read_regular_file(file)
    with file.open("wb") as small:
        small.write(b"123")
    monkeypatch.setenv(MOST_BYTES, "2")
    with pytest.raises(OSError, match="3 bytes"):
        read_regular_file(file)
    monkeypatch.setenv(MOST_BYTES, "3")
    assert read_regular_file(file) == b"123"


@pytest.mark.parametrize(
    ("step", "side"),
    [
        (dict(type="Resize", size=128), 128),
        (dict(type="Resize", size=[128]), 128),
        (dict(type="Resize", size=(128, 128)), None),
        (dict(type="Resize", size=128, max_size=200), None),
        (dict(type="CenterCrop", size=128), None),
    ],
)
def test_only_a_resize_of_the_shorter_side_can_enlarge_the_other_without_limit(step, side):
    assert shorter_side([step, dict(type="Resize", size=7)]) == side
    assert shorter_side([]) is None


def test_a_long_and_narrow_image_is_not_resized_to_more_pixels_than_are_allowed():
    assert resizing_excess(10, 2, 200, allowed=10_000) == ""  # becomes 10 x 1000
    assert resizing_excess(10, 202, 2, allowed=10_000) == (
        "its 202 x 2 pixels, resized to a shorter side of 10, would be 10,100, more than the 10,000 that are allowed"
    )
    assert resizing_excess(10, 50, 10, allowed=2500, weights=True) == ""  # a matrix of 50 x 50
    assert "too long and narrow" in resizing_excess(10, 50, 10, allowed=2499, weights=True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("reduced", [False, True])
def test_such_an_image_is_refused_before_it_is_resized(kind, reduced, monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (2000, 1)).save(file, kind)
    given = GivenImages([file.getvalue()], [v2.Resize(100), v2.CenterCrop(100)])
    given.reduced_decoding = reduced
    monkeypatch.setenv(MOST_PIXELS, "20000000")
    assert given[0]["image"].shape == (3, 100, 100)
    monkeypatch.setenv(MOST_PIXELS, "19999999")
    with pytest.raises(UnreadableImageError, match=rf"cannot be resized: its 2000 x 1 pixels, .* {MOST_PIXELS}"):
        given[0]
