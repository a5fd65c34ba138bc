from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.datasets import ImageFolderDataset
from metricforge.datasets.decoding.decode_image import decode_image, orientation_in_exif
from metricforge.doctor import collection_of_folder, examine
from metricforge.errors import UnreadableImageError

FORMATS = ("jpeg", "cmyk", "grey", "mpo", "png", "webp", "tiff", "tiff_lzw", "gif", "bmp", "avif", "jp2", "tga")


def picture(mode: str = "RGB") -> Image.Image:
    """A gradient whose corners differ, so that a turn is seen."""
    rows, columns = np.mgrid[0:24, 0:40]
    pixels = np.stack([rows * 10, columns * 6, 255 - rows * 5], axis=2).astype(np.uint8)  # (H, W, 3)
    return Image.fromarray(pixels).convert(mode)


def exif(*, orientation: int = 6, resolution: bytes = struct.pack("<ii", 72, 1), kind: int = 5) -> bytes:
    """An EXIF block that says ``orientation`` and a horizontal resolution, a rational of the TIFF type ``kind``."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHII", 0x011A, kind, 1, 38)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + resolution


SIGNED = exif(resolution=struct.pack("<ii", -1, 0), kind=10)
DAMAGED = {
    "a signed rational": SIGNED,
    "a text for a rational": exif(resolution=b"72 1....", kind=2),
    "an undefined type": exif(kind=77),
    "a value beyond the end": exif(resolution=b""),
    "a float": exif(resolution=struct.pack("<d", 1.5), kind=12),
    "a division by 0": exif(resolution=struct.pack("<II", 0, 0)),
    "an orientation of 0": exif(orientation=0),
    "an orientation beyond 8": exif(orientation=300),
    "a directory beyond the end": b"Exif\0\0II*\0" + struct.pack("<I", 4000),
    "more entries than bytes": b"Exif\0\0II*\0" + struct.pack("<IH", 8, 60000) + SIGNED[16:],
    "no byte order": b"Exif\0\0XX*\0" + SIGNED[10:],
    "nothing": b"Exif\0\0",
}


def encoded(form: str, block: bytes = b"") -> bytes:
    """The picture as a file of ``form``, with the EXIF ``block`` as it is where the format has a place for it."""
    out = io.BytesIO()
    if form in ("jpeg", "cmyk", "grey"):
        picture({"jpeg": "RGB", "cmyk": "CMYK", "grey": "L"}[form]).save(out, "JPEG", quality=95)
        return with_jpeg_exif(out.getvalue(), block)
    if form == "mpo":
        picture().save(out, "MPO", save_all=True, append_images=[picture()], quality=95)
        return with_jpeg_exif(out.getvalue(), block)
    if form == "png":
        picture().save(out, "PNG")
        return with_png_chunk(out.getvalue(), b"eXIf", block.removeprefix(b"Exif\0\0")) if block else out.getvalue()
    if form == "webp":
        picture().save(out, "WEBP", lossless=True, exif=block)
    elif form == "tiff":
        picture().save(out, "TIFF", tiffinfo={274: 6} if block else {})
    elif form == "tiff_lzw":
        picture().save(out, "TIFF", compression="tiff_lzw", tiffinfo={274: 6, 305: "made", 36867: "2020"})
    else:
        picture().save(out, {"gif": "GIF", "bmp": "BMP", "avif": "AVIF", "jp2": "JPEG2000", "tga": "TGA"}[form])
    return out.getvalue()


def with_jpeg_exif(content: bytes, block: bytes) -> bytes:
    if not block:
        return content
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]


def with_png_chunk(content: bytes, kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    after_header = 8 + 25
    crc = zlib.crc32(kind + data) if checksum is None else checksum
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
    return content[:after_header] + chunk + content[after_header:]


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """``content`` with some bytes changed, most of them where metadata stand, or cut, doubled or left out."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 6))):
        reach = len(data) if generator.random() < 0.4 else min(len(data), 400)
        place = int(generator.integers(reach))
        match int(generator.integers(6)):
            case 0 | 1 | 2:
                data[place] = int(generator.choice([0, 1, 0x7F, 0x80, 0xFF, generator.integers(256)]))
            case 3:
                data[place : place + 4] = generator.bytes(4)
            case 4:
                del data[place : place + int(generator.integers(1, 12))]
            case 5:
                data[place:place] = data[place : place + int(generator.integers(1, 12))]
        if not data:
            return b""
    if generator.random() < 0.1:
        del data[int(generator.integers(len(data))) :]
    return bytes(data)


@pytest.fixture
def folder(tmp_path):
    """Four classes of one good picture each; ``a/x`` is for a file under test."""
    for name in "abcd":
        (tmp_path / name).mkdir()
        picture().rotate(90 * ord(name)).save(tmp_path / name / "1.png")
    return tmp_path


def read(folder: Path, content: bytes, name: str = "0.png") -> torch.Tensor:
    (folder / "a" / name).write_bytes(content)
    return ImageFolderDataset(folder)[0]["image"]


@pytest.mark.parametrize("form", ["jpeg", "grey", "cmyk", "mpo", "png", "webp"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_exif_costs_neither_the_pixels_nor_an_orientation_that_can_be_read(folder, form, damage):
    plain = read(folder, encoded(form))
    turned = torch.rot90(plain, -1, (1, 2))  # 6: the camera was turned, so the picture is turned clockwise
    said = orientation_in_exif(DAMAGED[damage])
    assert said == (6 if damage not in (
        "an orientation of 0", "an orientation beyond 8", "a directory beyond the end", "no byte order", "nothing"
    ) else 1)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what it finds in the block
        found = read(folder, encoded(form, DAMAGED[damage]))
    assert torch.equal(found, turned if said == 6 else plain)


def test_a_broken_checksum_of_a_png_s_metadata_costs_nothing_and_one_of_its_pixels_is_told(folder):
    whole = encoded("png")
    block = exif().removeprefix(b"Exif\0\0")
    plain = read(folder, whole)
    assert torch.equal(read(folder, with_png_chunk(whole, b"eXIf", block, 1)), torch.rot90(plain, -1, (1, 2)))
    assert torch.equal(read(folder, with_png_chunk(whole, b"iCCP", b"no profile", 1)), plain)
    assert torch.equal(read(folder, with_png_chunk(whole, b"tEXt", b"\0\0" + zlib.compress(b""), 1)), plain)
    pixels = whole.index(b"IDAT") + 6
    with pytest.raises(UnreadableImageError, match=r"a/0\.png cannot be read"):
        read(folder, whole[:pixels] + b"\0\0\0\0" + whole[pixels + 4 :])


def test_a_tiff_whose_other_tags_are_damaged_is_turned_upright(folder):
    whole = encoded("tiff_lzw")
    assert read(folder, whole).shape == (3, 40, 24)
    entry = whole.index(struct.pack("<HH", 305, 2))  # a text, which now is a signed rational far beyond the end
    broken = whole[:entry] + struct.pack("<HHII", 305, 10, 1, 2**31) + whole[entry + 12 :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(read(folder, broken), read(folder, whole))


def test_a_damaged_index_of_further_pictures_leaves_the_first(folder):
    whole = encoded("mpo")
    place = whole.index(b"MPF\0") + 4
    plain = read(folder, whole)
    for damage in (b"XXXX", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(8)):
        assert torch.equal(read(folder, whole[:place] + damage + whole[place + len(damage) :]), plain)


def test_the_doctor_and_the_data_set_read_damaged_files_alike(folder):
    for number, (form, block) in enumerate([(f, b) for f in ("jpeg", "cmyk", "png") for b in DAMAGED.values()]):
        (folder / "b" / f"{number:03d}.{form}".replace("cmyk", "jpg")).write_bytes(encoded(form, block))
    (folder / "b" / "none.png").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = examine(collection_of_folder(folder), workers=1)
    assert list(found.errors.values()) == ["no format that Pillow knows"]
    turned = [odd for odd in found.oddities.values() if "turned by EXIF" in odd]
    assert len(turned) == 3 * sum(orientation_in_exif(block) == 6 for block in DAMAGED.values())


def fuzz(folder: Path, form: str, count: int) -> tuple[int, int]:
    """How many of ``count`` mutated files were read and refused; whatever else comes of one fails the test."""
    generator = np.random.default_rng(sorted(FORMATS).index(form))
    originals = [encoded(form, SIGNED), encoded(form, exif()), encoded(form)]
    dataset = ImageFolderDataset(folder)
    read = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(count):
            content = mutated(originals[number % 3], generator)
            dataset._read = lambda index, content=content: content
            try:
                image = dataset[0]["image"]
                assert image.dtype == torch.uint8
                assert image.shape[0] == 3
                read += 1
            except UnreadableImageError as fault:
                refused += str(folder / "a" / "1.png") in str(fault)
            except Exception as fault:
                kept = folder / "culprit"
                kept.write_bytes(content)
                pytest.fail(f"{form} {number}, kept in {kept}: {type(fault).__name__}: {fault}")
    assert read + refused == count, "each error names the file"
    return read, refused


@pytest.mark.parametrize("form", FORMATS)
def test_a_mutated_file_is_read_or_told_by_its_path(folder, form):
    read, refused = fuzz(folder, form, 120)
    assert read > 5
    assert refused > 5


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_ten_thousand_mutated_files_are_read_or_told_by_their_path(folder, form):
    assert sum(fuzz(folder, form, 10_000)) == 10_000


def test_the_reason_is_told_without_a_place_in_memory():
    with pytest.raises(UnreadableImageError, match=r"^no format that Pillow knows$"):
        decode_image(b"nothing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_or_a_device_is_never_waited_for(folder):
    os.mkfifo(folder / "a" / "2.png")
    (folder / "b" / "2.png").symlink_to("/dev/zero")
    dataset = ImageFolderDataset(folder, "all")
    dataset.files = type(dataset.files)(["a/2.png", "b/2.png", *dataset.files[2:]])
    for index, kind in enumerate(("a named pipe", "a device")):
        with pytest.raises(UnreadableImageError, match=rf"/2\.png cannot be read as an image \(it is {kind}"):
            dataset[index]
