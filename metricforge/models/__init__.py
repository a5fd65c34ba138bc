"""What is trained: a backbone, a head, a similarity, a miner and a loss, put together."""

from metricforge.models.compatibility import compatibility_faults, list_compatibility_faults
from metricforge.models.evaluation_mode import evaluation_mode
from metricforge.models.learned_similarity import check_similarity_is_trained
from metricforge.models.metric_learner import MetricLearner
from metricforge.models.weighted_losses import WeightedLosses, is_loss_list, loss_list_faults, loss_list_types

__all__ = [
    "MetricLearner",
    "WeightedLosses",
    "check_similarity_is_trained",
    "compatibility_faults",
    "evaluation_mode",
    "is_loss_list",
    "list_compatibility_faults",
    "loss_list_faults",
    "loss_list_types",
]
