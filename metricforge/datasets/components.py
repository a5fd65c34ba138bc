"""Every data set: the registry imports this module, which registers them."""

from metricforge.datasets import *  # noqa: F403
