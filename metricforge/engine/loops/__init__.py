"""The loops: one epoch of training, one evaluation, embedding a data set."""
