"""Losses of pytorch-metric-learning that need more than the general adapter."""
