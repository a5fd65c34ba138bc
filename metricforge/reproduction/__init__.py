"""The papers' tables: which runs each is made of, where these stand, and what they scored."""

from metricforge.reproduction.comparison import marked_names, print_comparison, print_notes
from metricforge.reproduction.missing_data import missing_data
from metricforge.reproduction.missing_trees import missing_trees
from metricforge.reproduction.missing_weights import missing_weights
from metricforge.reproduction.paper_table import PaperTable, Row, read_tables
from metricforge.reproduction.row_notes import notes_of
from metricforge.reproduction.row_run import RowRun

__all__ = [
    "PaperTable",
    "Row",
    "RowRun",
    "marked_names",
    "missing_data",
    "missing_trees",
    "missing_weights",
    "notes_of",
    "print_comparison",
    "print_notes",
    "read_tables",
]
