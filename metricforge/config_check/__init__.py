"""Finds every fault of a config at once, each with its config path and the way out."""

from metricforge.config_check.check_config import check_config

__all__ = ["check_config"]
