"""Text for a cell of a CSV file that a spreadsheet takes for text and not for a formula."""

from __future__ import annotations

_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def text_cell(text: str) -> str:
    """``text`` as it is, or after an apostrophe where a spreadsheet would compute it: ``'=cmd``."""
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text
