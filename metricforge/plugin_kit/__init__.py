"""Begin a plug-in from a template, and check everything that an installed one registers."""

from metricforge.plugin_kit.check_plugin import ComponentCheck, check_plugin
from metricforge.plugin_kit.new_plugin import new_plugin

__all__ = ["ComponentCheck", "check_plugin", "new_plugin"]
