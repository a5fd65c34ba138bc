"""Charts, pictures and tables of results."""

from metricforge.report.class_file import write_class_csv, write_class_json
from metricforge.report.class_table import print_confused_classes, print_worst_classes
from metricforge.report.convergence import draw_convergence
from metricforge.report.embedding_map import draw_embedding_map, pick_images
from metricforge.report.pick_queries import pick_queries, queries_of_ids
from metricforge.report.retrieval_grid import draw_retrieval_grid
from metricforge.report.run_names import run_names
from metricforge.report.save_figure import picture_formats
from metricforge.report.score_curves import draw_score_curves
from metricforge.report.score_distributions import draw_score_distributions
from metricforge.report.score_table import print_scores

__all__ = [
    "draw_convergence",
    "draw_embedding_map",
    "draw_retrieval_grid",
    "draw_score_curves",
    "draw_score_distributions",
    "pick_images",
    "pick_queries",
    "picture_formats",
    "print_confused_classes",
    "print_scores",
    "print_worst_classes",
    "queries_of_ids",
    "run_names",
    "write_class_csv",
    "write_class_json",
]
