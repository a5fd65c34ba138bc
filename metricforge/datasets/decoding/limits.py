"""How large an image may be, checked before it is decoded: a few kilobytes can ask for gigabytes of memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

MOST_PIXELS, MOST_BYTES = "METRICFORGE_MAX_PIXELS", "METRICFORGE_MAX_FILE_BYTES"
DEFAULTS = {MOST_PIXELS: 89_478_485, MOST_BYTES: 1 << 29}


# of pixels: those from which on Pillow warns of a bomb


def limit(name: str) -> int:
    """The limit that the environment variable ``name`` sets, or its default."""
    told = os.environ.get(name, "")
    return int(told) if told.isdecimal() and int(told) > 0 else DEFAULTS[name]


def excess(width: int, height: int) -> str:
    """Why an image of this size is not decoded; empty if it may be."""
    allowed = limit(MOST_PIXELS)
    if width * height <= allowed:
        return ""
    return (
        f"it has {width} x {height} pixels, more than the {allowed:,} that are decoded; if it is to be trusted, set "
        f"the environment variable {MOST_PIXELS}={width * height}"
    )


def shorter_side(preprocessing: Sequence[Mapping[str, Any]]) -> int | None:
    """The pixels to which transform configs resize the shorter side of an image first; None if they do not."""
    step = preprocessing[0] if preprocessing else {}
    size = step.get("size")
    size = size[0] if isinstance(size, (list, tuple)) and len(size) == 1 else size
    resizes = step.get("type") == "Resize" and step.get("max_size") is None
    return size if resizes and isinstance(size, int) else None


def resizing_excess(side: int, width: int, height: int, allowed: int | None = None, *, weights: bool = False) -> str:
    """Why an image is not resized until its shorter side has ``side`` pixels; empty if it may be.

    An image of one row has few pixels, and resized that way a hundred thousand times as many.

    Args:
        side: in pixels.
        width: of the image before.
        height: the same.
        allowed: pixels of the resized image; None: as many as are decoded.
        weights: whether the resizing multiplies by a matrix, of the longer side before and after.
    """
    allowed = limit(MOST_PIXELS) if allowed is None else allowed
    before = max(width, height)
    after = side * before // min(width, height)
    if side * after > allowed:
        return (
            f"its {width} x {height} pixels, resized to a shorter side of {side}, would be {side * after:,}, more than "
            f"the {allowed:,} that are allowed"
        )
    if weights and before * after > allowed:
        return f"{width} x {height} pixels are too long and narrow to be resized to a shorter side of {side}"
    return ""


if MOST_PIXELS in os.environ:  # whoever sets it means it; Pillow has a limit of its own, and refuses twice that
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limit(MOST_PIXELS))
