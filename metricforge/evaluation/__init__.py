"""Evaluation of an embedding set: exact search, ranks, the loop over evaluators, and what it records."""

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import Evaluation, evaluate, plan_evaluation, run_evaluation
from metricforge.evaluation.results.class_scores import ClassScores, ConfusedClasses, class_scores, confused_classes
from metricforge.evaluation.results.protocol import describe_protocol
from metricforge.evaluation.results.query_scores import QueryScores, collect_query_scores
from metricforge.evaluation.results.query_scores_file import query_scores_path, read_query_scores
from metricforge.evaluation.results.scores_file import read_scores, write_scores
from metricforge.evaluation.search.exact_knn import exact_knn

__all__ = [
    "ClassScores",
    "ConfusedClasses",
    "Evaluation",
    "EvaluationContext",
    "QueryScores",
    "class_scores",
    "collect_query_scores",
    "confused_classes",
    "describe_protocol",
    "evaluate",
    "exact_knn",
    "plan_evaluation",
    "query_scores_path",
    "read_query_scores",
    "read_scores",
    "run_evaluation",
    "write_scores",
]
