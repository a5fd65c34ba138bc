"""Evaluators: each turns an embedding set into named scores."""

from metricforge.evaluators.ami import AMI
from metricforge.evaluators.cmc import CMC
from metricforge.evaluators.map_at_r import MAPAtR
from metricforge.evaluators.mean_average_precision import MeanAveragePrecision
from metricforge.evaluators.mrr import MRR
from metricforge.evaluators.nearest_class_mean import NearestClassMean
from metricforge.evaluators.nmi import NMI
from metricforge.evaluators.pair_f1 import PairF1
from metricforge.evaluators.precision_at_k import PrecisionAtK
from metricforge.evaluators.r_precision import RPrecision
from metricforge.evaluators.re_ranked import ReRanked
from metricforge.evaluators.recall_at_k import RecallAtK
from metricforge.evaluators.scores_by_clustering import ScoresByClustering
from metricforge.evaluators.scores_by_similarity import ScoresBySimilarity
from metricforge.evaluators.scores_in_space import ScoresInSpace
from metricforge.evaluators.single_shot_cmc import SingleShotCMC
from metricforge.evaluators.verification import Verification
from metricforge.evaluators.zero_shot import ZeroShot

__all__ = [
    "AMI",
    "CMC",
    "MRR",
    "NMI",
    "MAPAtR",
    "MeanAveragePrecision",
    "NearestClassMean",
    "PairF1",
    "PrecisionAtK",
    "RPrecision",
    "ReRanked",
    "RecallAtK",
    "ScoresByClustering",
    "ScoresBySimilarity",
    "ScoresInSpace",
    "SingleShotCMC",
    "Verification",
    "ZeroShot",
]
