"""Names of classes and runs as a picture can show them."""

from __future__ import annotations

import unicodedata


def shown_text(name: str, longest: int | None = None) -> str:
    """``name`` on one line, without control characters, cut to ``longest`` characters; a dot where it is blank."""
    plain = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in name)
    words = " ".join(plain.split()) or "·"
    return words if longest is None or len(words) <= longest else words[: longest - 1] + "…"
