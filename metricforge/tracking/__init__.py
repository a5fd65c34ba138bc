"""Hooks that a config may name: MMEngine's, and the one that shows a tracker what a report shows."""

import mmengine.hooks

from metricforge.tracking.picture_hook import PictureHook

__all__ = ["PictureHook", "mmengine"]
