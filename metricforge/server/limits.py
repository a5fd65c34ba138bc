"""What a server takes from its clients."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_FILTER = 1000  # characters


@dataclass(frozen=True)
class Limits:
    """At most so much; whatever is beyond is refused with a reason.

    Args:
        body: bytes of a request.
        pixels: of an image, before it is decoded.
        images: in a request.
        k: neighbours of a search.
        waiting: requests that are worked on or wait for it, and images that wait to be embedded.
        seconds: that a request may take.
        rate: requests a minute of one client; pictures of the collection are counted apart, ten times as many.
    """

    body: int = 16 * 2**20
    pixels: int = 50_000_000
    images: int = 32
    k: int = 100
    waiting: int = 128
    seconds: float = 30.0
    rate: int = 600
