"""Decodes the content of an image file; damaged metadata never costs the pixels."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from typing import Literal, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from metricforge.datasets.decoding.limits import MOST_PIXELS, excess
from metricforge.datasets.decoding.without_metadata import without_metadata
from metricforge.errors import UnreadableImageError

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_MARKS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
_SHORT, _LONG = 3, 4
_ENTRY = 12  # bytes


class DecodedImage(NamedTuple):
    """An image as its file stores it, and the EXIF orientation (1..8) that turns it upright."""

    image: Image.Image
    orientation: int

    def upright(self) -> Image.Image:
        """Return the image turned upright."""
        turn = _UPRIGHT.get(self.orientation)
        return self.image if turn is None else self.image.transpose(turn)


def decode_image(content: bytes) -> DecodedImage:
    """Decode an image file of any format that Pillow reads.

    If reading its metadata (EXIF, colour profile, index of further images) fails, the pixels are decoded without it,
    and the orientation is used if it can be read.

    Raises:
        UnreadableImageError: if the pixels cannot be decoded, whatever the decoder raised; the message is only the
            reason, and the caller adds the path.
    """
    try:
        image = _loaded(content)
        return DecodedImage(image, orientation_of(image))
    except Exception as fault:  # a decoder or a reader of metadata, which raise errors of any type
        stripped = without_metadata(content)
        if stripped is not None:
            with suppress(Exception):
                image = _loaded(stripped.content)
                return DecodedImage(image, orientation_in_exif(stripped.exif))
        raise UnreadableImageError(_reason(fault)) from fault


def reason_of(fault: Exception) -> str:
    """Why an image could not be read, without its path, which the caller adds."""
    if isinstance(fault, UnreadableImageError):
        return str(fault)
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return str(fault) if type(fault) is OSError and str(fault) else f"{type(fault).__name__}: {fault}"


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation (1..8) of an image that Pillow opened; 1 where there is none or it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of a damaged tag; another one need not be the orientation
        return orientation_in_exif(image.info.get("exif"))
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def orientation_in_exif(exif: object) -> int:
    """The orientation (1..8) that the first directory of an ``exif`` block says, whatever else is damaged in it."""
    if not isinstance(exif, bytes):
        return 1
    exif = exif.removeprefix(b"Exif\0\0")
    order = _TIFF_MARKS.get(exif[:4])
    if order is None:
        return 1

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], order)

    directory = number(4, 4)
    for entry in range(directory + 2, min(directory + 2 + _ENTRY * number(directory, 2), len(exif)), _ENTRY):
        if number(entry, 2) == ExifTags.Base.Orientation and number(entry + 2, 2) in (_SHORT, _LONG):
            found = number(entry + 8, 2 if number(entry + 2, 2) == _SHORT else 4)
            return found if 1 <= found <= 8 else 1
    return 1


def _loaded(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # that limit is ours
        opened = Image.open(io.BytesIO(content))
    with opened as image:
        too_large = excess(*image.size)
        if too_large:
            raise UnreadableImageError(too_large)
        image.load()
    return image


def _reason(fault: Exception) -> str:
    if isinstance(fault, UnreadableImageError):
        return str(fault)
    if isinstance(fault, UnidentifiedImageError):  # whose words name a place in memory
        return "no format that Pillow knows"
    if isinstance(fault, Image.DecompressionBombError):
        return f"{fault}; if it is to be trusted, raise the environment variable {MOST_PIXELS}"
    return f"{type(fault).__name__}: {str(fault) or 'no reason given'}"
