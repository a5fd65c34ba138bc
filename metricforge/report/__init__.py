"""Pictures and tables of what a model finds."""

from metricforge.report.pick_queries import pick_queries
from metricforge.report.retrieval_grid import draw_retrieval_grid
from metricforge.report.score_table import print_scores

__all__ = ["draw_retrieval_grid", "pick_queries", "print_scores"]
