"""The contract as tests: a ``check_...`` for each kind of component, for a plug-in's own test suite to call."""

import metricforge.engine  # noqa: F401  # before mmengine's hooks, which it imports without transformers
from metricforge.testing.check_any_batch import check_any_batch
from metricforge.testing.check_backbone import check_backbone
from metricforge.testing.check_clustering import check_clustering
from metricforge.testing.check_dataset import check_dataset
from metricforge.testing.check_evaluator import check_evaluator
from metricforge.testing.check_head import check_head
from metricforge.testing.check_hook import check_hook
from metricforge.testing.check_in_processes import check_in_processes
from metricforge.testing.check_loss import check_loss
from metricforge.testing.check_miner import check_miner
from metricforge.testing.check_sampler import check_sampler
from metricforge.testing.check_similarity import check_similarity
from metricforge.testing.check_transform import check_transform
from metricforge.testing.run_in_processes import run_in_processes

__all__ = [
    "check_any_batch",
    "check_backbone",
    "check_clustering",
    "check_dataset",
    "check_evaluator",
    "check_head",
    "check_hook",
    "check_in_processes",
    "check_loss",
    "check_miner",
    "check_sampler",
    "check_similarity",
    "check_transform",
    "run_in_processes",
]
