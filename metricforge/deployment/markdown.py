"""Text from outside as Markdown shows it: what it says, and never a mark-up."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

# what begins emphasis, code, links, images, tables and formulas, and what GitHub makes a link of without being asked
_MARKUP = re.compile(r"[\\`*_\[\]~|$]|!(?=\[)|:(?=//)|(?<=\b[wW]{3})\.|@(?=\S*\.)")


def as_text(value: Any) -> str:
    """``value`` on one line, so that a reader of the page sees its characters and no link, tag, table or emphasis."""
    line = " ".join(
        "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") else sign for sign in str(value)).split()
    )
    return _MARKUP.sub(r"\\\g<0>", html.escape(line, quote=False))


def as_code(value: Any) -> str:
    """``value`` on one line as a code span, fenced by more backticks than it has."""
    line = " ".join(str(value).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"
