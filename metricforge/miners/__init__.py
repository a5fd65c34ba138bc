"""The miners of the core, for pairs and triplets. Those of the papers come as plug-ins."""

from metricforge.miners.distance_weighted_triplet_miner import DistanceWeightedTripletMiner
from metricforge.miners.hard_pair_miner import HardPairMiner
from metricforge.miners.hard_triplet_miner import HardTripletMiner
from metricforge.miners.multi_similarity_miner import MultiSimilarityMiner
from metricforge.miners.random_pair_miner import RandomPairMiner
from metricforge.miners.random_triplet_miner import RandomTripletMiner
from metricforge.miners.semi_hard_triplet_miner import SemiHardTripletMiner

__all__ = [
    "DistanceWeightedTripletMiner",
    "HardPairMiner",
    "HardTripletMiner",
    "MultiSimilarityMiner",
    "RandomPairMiner",
    "RandomTripletMiner",
    "SemiHardTripletMiner",
]
