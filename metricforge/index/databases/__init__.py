"""An index's vectors and columns for a vector database, which finds the same neighbours."""

from metricforge.index.databases.export_index import TARGETS, ExportedIndex, export_index

__all__ = ["TARGETS", "ExportedIndex", "export_index"]
