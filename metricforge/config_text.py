"""Formats the text of a config once: for mmengine, yapf does it anew for each log, file and checkpoint of a run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import mmengine.config.config

KEPT = 16  # texts; a run has one


def keep_formatted_texts() -> None:
    """Let mmengine's configs look up a text that was formatted before: it takes a tenth of a second and more."""
    library: Any = mmengine.config.config
    if not hasattr(library.FormatCode, "cache_info"):
        library.FormatCode = _kept(library.FormatCode)


def _kept(format_code: Any) -> Any:
    @lru_cache(KEPT)
    def formatted(text: str, options: tuple[tuple[str, Any], ...], style: tuple[tuple[str, Any], ...]) -> Any:
        return format_code(text, style_config=dict(style), **dict(options))

    def lookup(text: str, *, style_config: dict[str, Any], **options: Any) -> Any:
        return formatted(text, tuple(options.items()), tuple(style_config.items()))

    lookup.cache_info = formatted.cache_info  # type: ignore[attr-defined]
    return lookup
