"""The losses of the core. Those of the papers come as plug-ins."""

from metricforge.losses.contrastive_loss import ContrastiveLoss
from metricforge.losses.triplet_loss import TripletLoss

__all__ = ["ContrastiveLoss", "TripletLoss"]
