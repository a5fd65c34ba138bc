"""Hooks that a config may name: MMEngine's, and the one that shows a tracker what a report shows."""

import metricforge.engine  # noqa: F401  # before mmengine's hooks, which importing one of them registers
from metricforge.tracking.picture_hook import PictureHook

__all__ = ["PictureHook"]
