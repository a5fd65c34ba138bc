"""Reducers, regularizers and weight initialisers of pytorch-metric-learning, and their registries."""
