"""A JPEG that is decoded straight into an array, at full size or a whole fraction of it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import ExifTags, Image
from torch import Tensor

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
# The segments before the picture in which it may say that it lies otherwise than it is stored, or that others follow.
_APP1, _APP2, _START_OF_SCAN = 0xE1, 0xE2, 0xDA
_MARKS_OF_MORE = (b"Exif", b"Orientation", b"MPF")
# By these libjpeg scales within the inverse transform itself, which is what makes it fast.
FACTORS = (8, 4, 2)


class JpegFile:
    """The bytes of a JPEG whose header was read: grey or of three colours, turned upright by its EXIF orientation.

    ``open`` gives None for what Pillow should read: other formats, CMYK, and files in which something is wrong, so that
    there is one place where errors are told.
    """

    def __init__(self, data: bytes, stored_height: int, stored_width: int, orientation: int) -> None:
        self._data = data
        self._stored = (stored_height, stored_width)
        self.orientation = orientation
        transposed = _UPRIGHT[orientation][0]
        self.height, self.width = self._stored[::-1] if transposed else self._stored

    @classmethod
    def open(cls, data: bytes) -> JpegFile | None:
        """The file whose content is ``data``, or None if Pillow should read it."""
        try:
            if not _may_hold_more(data):
                height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
                few = Image.MAX_IMAGE_PIXELS is None or height * width <= Image.MAX_IMAGE_PIXELS
                return cls(data, height, width, 1) if few and colours in ("YCbCr", "RGB", "Gray") else None
            with Image.open(io.BytesIO(data)) as image:
                if image.format != "JPEG" or image.mode not in ("RGB", "L"):
                    return None
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                return cls(data, image.height, image.width, orientation if orientation in _UPRIGHT else 1)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None  # Pillow meets the same fault again where it is told with the image's place

    def pixels(self, factor: int = 1, approximate: bool = False) -> Tensor | None:
        """The picture as uint8 (3, ceil(H / factor), ceil(W / factor)), or None if Pillow should read it.

        At factor 1 these are Pillow's pixels, bit for bit, unless ``approximate``: libjpeg's quicker inverse transform,
        whose rounding darkens by less than 1 of 255, and colours taken from the nearest of their fewer pixels. Strides
        are those of (H, W, 3), which torch resizes fastest.
        """
        height, width = (-(-side // factor) for side in self._stored)
        try:
            stored = simplejpeg.decode_jpeg(
                self._data,
                "RGB",
                fastdct=approximate,
                fastupsample=approximate,
                min_height=height,
                min_width=width,
                min_factor=factor,
            )  # (H, W, 3)
        except ValueError:
            return None
        if stored.shape != (height, width, 3):
            return None
        return torch.from_numpy(self._upright(stored)).permute(2, 0, 1)  # (3, H, W)

    def _upright(self, stored: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
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


def _may_hold_more(data: bytes) -> bool:
    """False only of one picture that lies as it is stored, so that Pillow's slower look at the file can be spared."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == _START_OF_SCAN:
            return False
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in (_APP1, _APP2) and any(mark in data[position:end] for mark in _MARKS_OF_MORE):
            return True
        position = end
    return True
