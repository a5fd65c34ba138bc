"""Lifted structured feature embedding (Song et al., CVPR 2016): its loss and its miner; importing registers both."""

from metricforge_lifted.lifted_structure_loss import LiftedStructureLoss
from metricforge_lifted.lifted_structure_miner import LiftedStructureMiner

__all__ = ["LiftedStructureLoss", "LiftedStructureMiner"]
