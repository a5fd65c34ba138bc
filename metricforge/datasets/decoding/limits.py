"""How large an image may be, checked before it is decoded: a few kilobytes can ask for gigabytes of memory."""

from __future__ import annotations

import os

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


if MOST_PIXELS in os.environ:  # whoever sets it means it; Pillow has a limit of its own, and refuses twice that
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limit(MOST_PIXELS))
