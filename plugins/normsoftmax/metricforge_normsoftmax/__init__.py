"""Classification as metric learning, NormSoftmax (Zhai and Wu, 2018): its loss; importing registers it."""

from metricforge_normsoftmax.norm_softmax_loss import NormSoftmaxLoss

__all__ = ["NormSoftmaxLoss"]
