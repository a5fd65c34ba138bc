"""Local similarity-aware embedding, PDDM (Huang et al., NIPS 2016): importing registers its components."""

from metricforge_pddm.double_header_hinge_loss import DoubleHeaderHingeLoss
from metricforge_pddm.hard_pair_triplet_miner import HardPairTripletMiner
from metricforge_pddm.hard_quadruplet_miner import HardQuadrupletMiner
from metricforge_pddm.lmdm import LMDM
from metricforge_pddm.pddm import PDDM
from metricforge_pddm.score_range_watch import CollapsedScoresWarning

__all__ = [
    "LMDM",
    "PDDM",
    "CollapsedScoresWarning",
    "DoubleHeaderHingeLoss",
    "HardPairTripletMiner",
    "HardQuadrupletMiner",
]
