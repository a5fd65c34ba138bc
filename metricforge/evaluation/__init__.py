"""Scores of an embedding set: exact neighbours, clusters, evaluators, and the protocol they were measured by."""

from metricforge.evaluation.ami import AMI
from metricforge.evaluation.cmc import CMC
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import evaluate
from metricforge.evaluation.map_at_r import MAPAtR
from metricforge.evaluation.mean_average_precision import MeanAveragePrecision
from metricforge.evaluation.mrr import MRR
from metricforge.evaluation.nearest_class_mean import NearestClassMean
from metricforge.evaluation.neighbour_search import search_neighbours
from metricforge.evaluation.nmi import NMI
from metricforge.evaluation.pair_f1 import PairF1
from metricforge.evaluation.precision_at_k import PrecisionAtK
from metricforge.evaluation.protocol import describe_protocol
from metricforge.evaluation.r_precision import RPrecision
from metricforge.evaluation.re_ranked import ReRanked
from metricforge.evaluation.recall_at_k import RecallAtK
from metricforge.evaluation.scores_by_similarity import ScoresBySimilarity
from metricforge.evaluation.scores_file import read_scores, write_scores
from metricforge.evaluation.scores_in_space import ScoresInSpace
from metricforge.evaluation.verification import Verification

__all__ = [
    "AMI",
    "CMC",
    "MRR",
    "NMI",
    "EvaluationContext",
    "MAPAtR",
    "MeanAveragePrecision",
    "NearestClassMean",
    "PairF1",
    "PrecisionAtK",
    "RPrecision",
    "ReRanked",
    "RecallAtK",
    "ScoresBySimilarity",
    "ScoresInSpace",
    "Verification",
    "describe_protocol",
    "evaluate",
    "read_scores",
    "search_neighbours",
    "write_scores",
]
