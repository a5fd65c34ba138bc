"""Small pictures inside a page, until its budget of bytes is spent."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Iterable

from PIL import Image, ImageOps

from metricforge.datasets.decoding.eight_bit_rgb import eight_bit_rgb
from metricforge.errors import DatasetError

LARGE, SMALL = 96, 40  # pixels of the longer side
QUALITY = 62
BUDGET = 6_500_000  # bytes of all thumbnails, a third less than they take in base64
SHARE_OF_LARGE = 0.75  # of the budget, after which thumbnails are small


class Thumbnails:
    """Encoded pictures by image id.

    Args:
        load: gives the picture of an image id, such as a data set's ``load``.
        budget: bytes that all of them may take.
    """

    def __init__(self, load: Callable[[int], Image.Image], budget: int = BUDGET) -> None:
        self._load = load
        self._budget = budget
        self._used = 0
        self._encoded: dict[int, str] = {}
        self.unreadable: list[int] = []
        self.left_out = 0

    def add(self, ids: Iterable[int]) -> None:
        """Add the pictures of ``ids``, first come first served; one that is there or cannot be read is passed over."""
        for number in dict.fromkeys(map(int, ids)):
            if number not in self._encoded:
                self._add(number)

    def to_json(self) -> dict[str, str]:
        """Image id to WebP in base64."""
        return {str(number): text for number, text in self._encoded.items()}

    def __len__(self) -> int:
        return len(self._encoded)

    def __contains__(self, number: int) -> bool:
        return number in self._encoded

    def _add(self, number: int) -> None:
        if self._used >= self._budget:
            self.left_out += 1
            return
        side = LARGE if self._used < SHARE_OF_LARGE * self._budget else SMALL
        try:
            content = encode_picture(self._load(number), side)
        except (OSError, ValueError, DatasetError):  # one that an evaluation reads by another decoder, say
            self.unreadable.append(number)
            return
        self._used += len(content)
        self._encoded[number] = b64encode(content).decode()


def encode_picture(image: Image.Image, side: int) -> bytes:
    """Encode ``image`` as WebP with its longer side at most ``side`` pixels, upright."""
    if image.format == "JPEG":
        image.draft("RGB", (side, side))
    upright = ImageOps.exif_transpose(image)
    small = eight_bit_rgb(upright)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
