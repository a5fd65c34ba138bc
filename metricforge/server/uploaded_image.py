"""Images that strangers send: nothing is decoded before its format and its size are known to be allowed."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, features

from metricforge.datasets.decoding.decode_image import decode_image
from metricforge.errors import DatasetError
from metricforge.server.refused_error import RefusedError

if TYPE_CHECKING:
    from torch import Tensor

    from metricforge.arrays import Bytes
    from metricforge.deployment import EmbeddingModel
    from metricforge.index.onnx_model import OnnxModel

FORMATS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "AVIF": "avif"}
OPENED = [name for name in FORMATS if name != "MPO" and (name != "AVIF" or features.check("avif"))]  # MPO: as JPEG
ALLOWED = f"{', '.join(OPENED[:-1])} and {OPENED[-1]} are read"


class Crop(NamedTuple):
    """A part of an upright image, as shares 0..1 of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def parse(cls, text: str) -> Crop:
        """What ``text``, four numbers separated by commas, says.

        Raises:
            RefusedError: if it says no rectangle within the image.
        """
        try:
            crop = cls(*map(float, text.split(",")))
        except (TypeError, ValueError):
            crop = cls(math.nan, 0, 0, 0)
        if not (0 <= crop.left < crop.right <= 1 and 0 <= crop.top < crop.bottom <= 1):
            raise RefusedError(
                422, "crop must be left,top,right,bottom as shares of the image, such as 0.1,0.2,0.9,0.8"
            )
        return crop

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels; at least one pixel."""
        left, top = min(int(self.left * width), width - 1), min(int(self.top * height), height - 1)
        return left, top, max(left + 1, round(self.right * width)), max(top + 1, round(self.bottom * height))


def format_of(content: bytes, most_pixels: int) -> str:
    """The format of the image ``content``, one of ``FORMATS``; nothing is decoded.

    Raises:
        RefusedError: if it is of another kind (415), or has too many pixels (413).
    """
    return _header(content, most_pixels)[0]


def _header(content: bytes, most_pixels: int) -> tuple[str, int, int]:
    """Format, width and height of the image ``content``, not turned upright; nothing is decoded.

    Raises:
        RefusedError: if it is of another kind (415), or has too many pixels (413).
    """
    if not content:
        raise RefusedError(422, "the image has no content")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels; that limit is ours
            with Image.open(io.BytesIO(content), formats=OPENED) as image:
                (width, height), name = image.size, str(image.format)
    except Image.DecompressionBombError as fault:
        raise RefusedError(413, f"the image has too many pixels; at most {most_pixels:,} are read") from fault
    except Exception as fault:  # a reader of a damaged header, which raises errors of any type
        raise RefusedError(415, f"this is no image that can be read here; {ALLOWED}") from fault
    if width * height > most_pixels:
        raise RefusedError(
            413, f"the image has {width} x {height} = {width * height:,} pixels; at most {most_pixels:,} are read"
        )
    return name, width, height


def prepared(
    content: bytes, model: EmbeddingModel | OnnxModel, most_pixels: int, crop: Crop | None = None
) -> Tensor | Bytes:
    """The image ``content`` as ``model.embed_pixels`` takes it.

    Raises:
        RefusedError: if it is of another kind, too large, or damaged.
    """
    _, width, height = _header(content, most_pixels)
    try:
        if crop is None:
            image: bytes | Image.Image = content
        else:
            upright = decode_image(content).upright()
            image = upright.crop(crop.box(*upright.size))
            width, height = image.size
        fault = model.resizing_excess(width, height, most_pixels)
        if fault:
            raise RefusedError(413, f"the image is too long and narrow: {fault}")
        return model.prepare(image)
    except DatasetError as fault:
        raise RefusedError(422, f"the image is damaged: {str(fault).splitlines()[0]}") from fault
