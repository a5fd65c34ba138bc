"""What is trained: a backbone, a head, a similarity, a miner and a loss, put together."""

from metricforge.models.evaluation_mode import evaluation_mode
from metricforge.models.learned_similarity import check_similarity_is_trained
from metricforge.models.metric_learner import MetricLearner, compatibility_faults

__all__ = ["MetricLearner", "check_similarity_is_trained", "compatibility_faults", "evaluation_mode"]
