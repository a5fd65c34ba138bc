"""Lifted structured feature embedding (Song et al., CVPR 2016): loss, miner and batches; importing registers them."""

from metricforge_lifted.difficult_neighbour_batch_sampler import DifficultNeighbourBatchSampler
from metricforge_lifted.lifted_structure_loss import LiftedStructureLoss
from metricforge_lifted.lifted_structure_miner import LiftedStructureMiner
from metricforge_lifted.pair_list_batch_sampler import PairListBatchSampler

__all__ = ["DifficultNeighbourBatchSampler", "LiftedStructureLoss", "LiftedStructureMiner", "PairListBatchSampler"]
