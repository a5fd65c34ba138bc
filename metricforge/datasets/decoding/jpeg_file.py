"""Decodes a JPEG straight into an array, at full size or 1/2, 1/4 or 1/8 of it."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image
from torch import Tensor

from metricforge.arrays import Bytes
from metricforge.datasets.decoding.decode_image import orientation_of
from metricforge.datasets.decoding.limits import excess

Pixels = Bytes  # (H, W, 3)

# What EXIF's orientation asks of the stored rows and columns, as (transpose, flip rows, flip columns), in this order.
_UPRIGHT = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
# The segments before the picture in which it may say that it lies otherwise than it is stored, or that others follow,
_APP1, _APP2 = 0xE1, 0xE2
_MARKS_OF_MORE = (b"Exif", b"Orientation", b"MPF")
# those that say how large it is, its rows being stored once and in order, that markers stand in it, and its first.
_SOF0, _SOF1, _DRI, _START_OF_SCAN = 0xC0, 0xC1, 0xDD, 0xDA
# What libjpeg finds wrong with a whole picture that has more rows than it says.
_GOES_ON = "extraneous bytes before marker 0xd9"
_ROWS_AT_ONCE = 16  # are decoded by libjpeg; to leave out fewer spares nothing
# By these libjpeg scales within the inverse transform itself, which is what makes it fast.
FACTORS = (8, 4, 2)


class JpegFile:
    """The bytes of a JPEG whose header was read: grey or with three colours, turned upright by its EXIF orientation.

    ``open`` returns None for files that Pillow should read: other formats, CMYK, and damaged files, so that errors are
    reported in one place.
    """

    def __init__(
        self, data: bytes, stored_height: int, stored_width: int, orientation: int, segments: list[tuple[int, int, int]]
    ) -> None:
        self._data = data
        self._stored = (stored_height, stored_width)
        self._segments = segments
        self.orientation = orientation
        transposed = _UPRIGHT[orientation][0]
        self.height, self.width = self._stored[::-1] if transposed else self._stored

    @classmethod
    def open(cls, data: bytes) -> JpegFile | None:
        """Open the file with the content ``data``; None if Pillow should read it."""
        try:
            segments = _segments(data)
            if not _may_hold_more(data, segments):
                height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
                few = not excess(width, height)
                return cls(data, height, width, 1, segments) if few and colours in ("YCbCr", "RGB", "Gray") else None
            with Image.open(io.BytesIO(data)) as image:
                if image.format != "JPEG" or image.mode not in ("RGB", "L") or excess(*image.size):
                    return None
                return cls(data, image.height, image.width, orientation_of(image), segments)
        except Exception:  # readers of metadata raise errors of any type
            return None  # Pillow meets the same fault again, where it is reported with the image's location

    def pixels(self, factor: int = 1, approximate: bool = False, rows: int | None = None) -> Pixels | None:
        """Decode to uint8 (ceil(H / factor), ceil(W / factor), 3); None if Pillow should read it.

        At factor 1 these are Pillow's pixels, bit for bit, unless ``approximate``: libjpeg's quicker inverse transform,
        whose rounding darkens by less than 1 of 255, and colours taken from the nearest of their fewer pixels. Of an
        approximate picture only the first ``rows`` may be there, with the same pixels; the others are not decoded then.
        """
        height, width = self._stored
        if approximate and rows is not None and rows * factor <= height - _ROWS_AT_ONCE and self.orientation == 1:
            frame = self._frame_in_one_go()
            first = None if frame is None else self._first_rows(rows * factor, factor, frame)
            if first is not None:
                return first
        pixels, fault = _decoded(self._data, height, width, factor, approximate)
        return None if fault else self._upright(pixels)

    def _first_rows(self, height: int, factor: int, frame: int) -> Pixels | None:
        """The ``height`` first of the stored rows, of which libjpeg is told that they are all; None if it cannot."""
        data = bytearray(self._data)
        data[frame + 5 : frame + 7] = height.to_bytes(2, "big")
        pixels, fault = _decoded(data, height, self._stored[1], factor, approximate=True)
        # it tells the first thing that it finds wrong: if that is what comes after the rows, nothing was in them
        return None if fault and not fault.endswith(_GOES_ON) else pixels

    def _frame_in_one_go(self) -> int | None:
        """Where the size stands of a picture whose rows lie one after the other, with all colours; None of others."""
        start_of = {kind: start for kind, start, _ in self._segments}
        frame = start_of.get(_SOF0, start_of.get(_SOF1))
        if frame is None or _DRI in start_of:
            return None
        scan = start_of[_START_OF_SCAN]
        colours, in_first_scan = self._data[frame + 9 : frame + 10], self._data[scan + 4 : scan + 5]
        return frame if colours == in_first_scan else None

    def _upright(self, stored: Pixels) -> Pixels:
        if self.orientation == 1:
            return stored
        transpose, flip_rows, flip_columns = _UPRIGHT[self.orientation]
        turned = stored.transpose(1, 0, 2) if transpose else stored
        return np.ascontiguousarray(turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def turned_upright(pixels: Tensor, orientation: int) -> Tensor:
    """A picture (3, H, W) as stored, turned upright (3, H, W) or (3, W, H) by its EXIF ``orientation``, 1..8."""
    transpose, flip_rows, flip_columns = _UPRIGHT[orientation]
    turned = pixels.transpose(1, 2) if transpose else pixels
    flipped = [dim for dim, flip in ((1, flip_rows), (2, flip_columns)) if flip]
    return turned.flip(flipped) if flipped else turned


def _decoded(
    data: bytes | bytearray, height: int, width: int, factor: int, approximate: bool
) -> tuple[Pixels, str | None]:
    """The picture in ``data``, of ``height`` x ``width`` before it is reduced, and what is wrong with it."""
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), dtype=np.uint8)
    try:
        filled = simplejpeg.decode_jpeg(
            data,
            "RGB",
            fastdct=approximate,
            fastupsample=approximate,
            min_height=pixels.shape[0],
            min_width=pixels.shape[1],
            min_factor=factor,
            buffer=pixels,
        )
    except ValueError as fault:
        return pixels, str(fault)
    return pixels, None if filled.shape == pixels.shape else f"decoded to {filled.shape}"


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Kind, start and end of each segment up to the one with which the picture begins; none if that does not come."""
    segments, start = [], 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        kind, end = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        segments.append((kind, start, end))
        if kind == _START_OF_SCAN:
            return segments
        start = end
    return []


def _may_hold_more(data: bytes, segments: list[tuple[int, int, int]]) -> bool:
    """False only of one picture that lies as it is stored, so that Pillow's slower look at the file can be spared."""
    return not segments or any(
        kind in (_APP1, _APP2) and any(mark in data[start:end] for mark in _MARKS_OF_MORE)
        for kind, start, end in segments
    )
