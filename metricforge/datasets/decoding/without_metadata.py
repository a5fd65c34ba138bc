"""Removes the metadata of an image file, for files whose metadata cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

_PNG = b"\x89PNG\r\n\x1a\n"
_NEEDED_PNG = (b"tRNS",)  # of the chunks that a reader may skip, those that change what is seen
_WEBP_METADATA = (b"EXIF", b"XMP ", b"ICCP")
_WEBP_METADATA_FLAGS = 0x2C  # in VP8X: colour profile, EXIF, XMP
_START_OF_SCAN, _APP1, _APP14, _APP15 = 0xDA, 0xE1, 0xEE, 0xEF
_TIFF_ENTRY = 12
# The tags that say how a TIFF's pixels are stored, orientation (274) among them.
_TIFF_PIXELS = frozenset(
    (
        254,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        284,
        292,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        347,
        512,
        513,
        514,
        519,
        520,
        521,
        529,
        530,
        531,
        532,
    )
)


class StrippedFile(NamedTuple):
    """The ``content`` of an image file without metadata, and the ``exif`` block that was in it."""

    content: bytes
    exif: bytes | None


def without_metadata(content: bytes) -> StrippedFile | None:
    """Remove the metadata from a JPEG, PNG, WebP or TIFF file; None for other formats or if there is none.

    The pixels' bytes stay as they are. A TIFF keeps its orientation, which Pillow applies itself.
    """
    if content[:2] == b"\xff\xd8":
        return _jpeg(content)
    if content.startswith(_PNG):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(content)
    return None


def _jpeg(content: bytes) -> StrippedFile | None:
    kept, exif, start = [content[:2]], None, 2
    while start + 4 <= len(content) and content[start] == 0xFF:
        kind = content[start + 1]
        if kind == 0xFF:  # padding
            start += 1
            continue
        if kind == _START_OF_SCAN:
            return StrippedFile(b"".join([*kept, content[start:]]), exif)
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        segment = content[start:end]
        if kind == _APP1 and segment[4:8] == b"Exif" and exif is None:
            exif = segment[4:]
        if not _APP1 <= kind <= _APP15 or kind == _APP14:  # Adobe's says which colours the numbers are
            kept.append(segment)
        start = end
    return None


def _png(content: bytes) -> StrippedFile:
    kept, exif, start = [_PNG], None, len(_PNG)
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        kind = content[start + 4 : start + 8]
        if kind == b"eXIf":
            exif = content[start + 8 : end - 4]
        if kind[:1].isupper() or kind in _NEEDED_PNG:
            kept.append(content[start:end])
        start = end
    return StrippedFile(b"".join(kept), exif)


def _webp(content: bytes) -> StrippedFile:
    kept, exif = [], None
    for kind, chunk in _riff_chunks(content):
        if kind == b"EXIF":
            exif = chunk[8:]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_METADATA_FLAGS]) + chunk[9:]
        if kind not in _WEBP_METADATA:
            kept.append(chunk)
    body = b"WEBP" + b"".join(kept)
    return StrippedFile(b"RIFF" + len(body).to_bytes(4, "little") + body, exif)


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 12
    while start + 9 <= len(content):
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        end = start + 8 + size + size % 2
        yield content[start : start + 4], content[start:end]
        start = end


def _tiff(content: bytes) -> StrippedFile | None:
    order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(content[start : start + size], order)

    directory = number(4, 4)
    count = number(directory, 2)
    starts = range(directory + 2, directory + 2 + _TIFF_ENTRY * count, _TIFF_ENTRY)
    entries = [content[start : start + _TIFF_ENTRY] for start in starts if number(start, 2) in _TIFF_PIXELS]
    if not entries:
        return None
    even = content + bytes(len(content) % 2)
    written = [len(entries).to_bytes(2, order), *entries, bytes(4)]
    offset = len(even).to_bytes(4, order)
    return StrippedFile(even[:4] + offset + even[8:] + b"".join(written), None)
