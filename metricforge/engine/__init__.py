"""Train on mmengine's Runner, with safer defaults: a run can be killed, resumed and trusted.

Each module says which of the Runner's defaults it replaces, and why.
"""

from metricforge.engine.optim.autocast_optim_wrapper import AutocastOptimWrapper
from metricforge.engine.optim.parameter_groups import ParameterGroups

__all__ = ["AutocastOptimWrapper", "ParameterGroups"]
