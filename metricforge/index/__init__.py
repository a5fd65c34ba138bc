"""An index on disk: find the images of a collection that are most similar to a given one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metricforge.index.hit import Hit
from metricforge.index.search_index import SearchIndex, load_index

if TYPE_CHECKING:
    from metricforge.index.build import build_index

__all__ = ["Hit", "SearchIndex", "build_index", "load_index"]


def __getattr__(name: str) -> Any:
    if name != "build_index":  # which imports torch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("metricforge.index.build").build_index
