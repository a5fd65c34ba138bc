"""Scores of an embedding set: exact neighbours, clusters, evaluators, and the protocol they were measured by."""

from metricforge.evaluation.ami import AMI
from metricforge.evaluation.class_scores import ClassScores, ConfusedClasses, class_scores, confused_classes
from metricforge.evaluation.cmc import CMC
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import evaluate
from metricforge.evaluation.fitting_set import FittingSet
from metricforge.evaluation.map_at_r import MAPAtR
from metricforge.evaluation.mean_average_precision import MeanAveragePrecision
from metricforge.evaluation.mrr import MRR
from metricforge.evaluation.nearest_class_mean import NearestClassMean
from metricforge.evaluation.neighbour_search import search_neighbours
from metricforge.evaluation.nmi import NMI
from metricforge.evaluation.pair_f1 import PairF1
from metricforge.evaluation.precision_at_k import PrecisionAtK
from metricforge.evaluation.protocol import describe_protocol
from metricforge.evaluation.query_scores import QueryScores, collect_query_scores
from metricforge.evaluation.query_scores_file import query_scores_path, read_query_scores
from metricforge.evaluation.r_precision import RPrecision
from metricforge.evaluation.re_ranked import ReRanked
from metricforge.evaluation.recall_at_k import RecallAtK
from metricforge.evaluation.scores_by_clustering import ScoresByClustering
from metricforge.evaluation.scores_by_similarity import ScoresBySimilarity
from metricforge.evaluation.scores_file import read_scores, write_scores
from metricforge.evaluation.scores_in_space import ScoresInSpace
from metricforge.evaluation.verification import Verification
from metricforge.evaluation.zero_shot import ZeroShot

__all__ = [
    "AMI",
    "CMC",
    "MRR",
    "NMI",
    "ClassScores",
    "ConfusedClasses",
    "EvaluationContext",
    "FittingSet",
    "MAPAtR",
    "MeanAveragePrecision",
    "NearestClassMean",
    "PairF1",
    "PrecisionAtK",
    "QueryScores",
    "RPrecision",
    "ReRanked",
    "RecallAtK",
    "ScoresByClustering",
    "ScoresBySimilarity",
    "ScoresInSpace",
    "Verification",
    "ZeroShot",
    "class_scores",
    "collect_query_scores",
    "confused_classes",
    "describe_protocol",
    "evaluate",
    "query_scores_path",
    "read_query_scores",
    "read_scores",
    "search_neighbours",
    "write_scores",
]
