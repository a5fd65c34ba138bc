"""What a reader leaves out of a collection, with the reason and the names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_NAMED = 5


@dataclass(frozen=True)
class LeftOut:
    """Files or rows ``names`` that are not used, and why.

    Args:
        reason: what they are, such as "rows without a label"; it follows their number.
        names: their paths, ``shown_name`` made them printable.
    """

    reason: str
    names: Sequence[str]

    def describe(self) -> str:
        """One line, such as ``left out: 2 rows without a label: a.jpg, b.jpg``."""
        return f"left out: {len(self.names):,} {self.reason}: {first_names(self.names)}"


def first_names(names: Sequence[str], count: int = _NAMED) -> str:
    """The first of ``names``, and whether more follow."""
    return ", ".join(map(str, names[:count])) + (", ..." if len(names) > count else "")


def shown_name(name: str) -> str:
    """``name`` of a file with what is not UTF-8 or not printable escaped, such as ``caf\\xe9.jpg``."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        letter if unicodedata.category(letter)[0] != "C" else letter.encode("unicode_escape").decode()
        for letter in text
    )
