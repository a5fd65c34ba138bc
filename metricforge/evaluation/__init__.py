"""Scores of an embedding set: exact neighbours, clusters, evaluators, and the protocol they were measured by."""

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import evaluate
from metricforge.evaluation.map_at_r import MAPAtR
from metricforge.evaluation.neighbour_search import search_neighbours
from metricforge.evaluation.nmi import NMI
from metricforge.evaluation.protocol import describe_protocol
from metricforge.evaluation.r_precision import RPrecision
from metricforge.evaluation.re_ranked import ReRanked
from metricforge.evaluation.recall_at_k import RecallAtK
from metricforge.evaluation.scores_by_similarity import ScoresBySimilarity
from metricforge.evaluation.scores_file import read_scores, write_scores

__all__ = [
    "NMI",
    "EvaluationContext",
    "MAPAtR",
    "RPrecision",
    "ReRanked",
    "RecallAtK",
    "ScoresBySimilarity",
    "describe_protocol",
    "evaluate",
    "read_scores",
    "search_neighbours",
    "write_scores",
]
