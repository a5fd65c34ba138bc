"""An index on disk: find the images of a collection that are most similar to a given one."""

from metricforge.index.build import build_index
from metricforge.index.hit import Hit
from metricforge.index.search_index import SearchIndex, load_index

__all__ = ["Hit", "SearchIndex", "build_index", "load_index"]
