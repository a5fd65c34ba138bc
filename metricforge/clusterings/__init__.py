"""Ways to cluster embeddings, which NMI, AMI and the pair-counting F1 are measured on."""

from metricforge.clusterings.affinity_propagation import AffinityPropagation
from metricforge.clusterings.k_means import KMeans

__all__ = ["AffinityPropagation", "KMeans"]
