"""The losses of the core. Those of the papers come as plug-ins."""

from metricforge.losses.binomial_deviance_loss import BinomialDevianceLoss
from metricforge.losses.contrastive_loss import ContrastiveLoss
from metricforge.losses.cross_batch_memory import CrossBatchMemory
from metricforge.losses.margin_loss import MarginLoss
from metricforge.losses.multi_similarity_loss import MultiSimilarityLoss
from metricforge.losses.n_pairs_loss import NPairsLoss
from metricforge.losses.proxy_anchor_loss import ProxyAnchorLoss
from metricforge.losses.proxy_nca_loss import ProxyNCALoss
from metricforge.losses.triplet_loss import TripletLoss

__all__ = [
    "BinomialDevianceLoss",
    "ContrastiveLoss",
    "CrossBatchMemory",
    "MarginLoss",
    "MultiSimilarityLoss",
    "NPairsLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "TripletLoss",
]
