"""Runs side by side: intervals over classes, differences on the same queries, and protocols that must agree."""

from metricforge.comparison.compare_runs import ComparedScore, Comparison, Difference, Standing, compare_runs
from metricforge.comparison.comparison_table import print_run_comparison
from metricforge.comparison.run_scores import RunScores, read_run
from metricforge.comparison.same_queries import on_the_same_queries
from metricforge.comparison.settings import Differing, differing_settings, remarkable_differences
from metricforge.evaluation.results.class_bootstrap import percentile_interval, resampled_means, two_sided_p

__all__ = [
    "ComparedScore",
    "Comparison",
    "Difference",
    "Differing",
    "RunScores",
    "Standing",
    "compare_runs",
    "differing_settings",
    "on_the_same_queries",
    "percentile_interval",
    "print_run_comparison",
    "read_run",
    "remarkable_differences",
    "resampled_means",
    "two_sided_p",
]
