"""Which images make up a batch."""

from metricforge.samplers.batch_sampler import BatchSampler
from metricforge.samplers.class_balanced_batch_sampler import ClassBalancedBatchSampler
from metricforge.samplers.embedding_batch_sampler import EmbeddingBatchSampler
from metricforge.samplers.hierarchical_batch_sampler import HierarchicalBatchSampler
from metricforge.samplers.random_batch_sampler import RandomBatchSampler

__all__ = [
    "BatchSampler",
    "ClassBalancedBatchSampler",
    "EmbeddingBatchSampler",
    "HierarchicalBatchSampler",
    "RandomBatchSampler",
]
