"""Train on mmengine's Runner, with safer defaults: a run can be killed, resumed and trusted.

Each module says which of the Runner's defaults it replaces, and why.
"""

import metricforge.engine.optim.transformers_optimizer  # noqa: F401  # before anything that imports mmengine.optim
from metricforge.engine.optim.autocast_optim_wrapper import AutocastOptimWrapper
from metricforge.engine.optim.parameter_groups import ParameterGroups

__all__ = ["AutocastOptimWrapper", "ParameterGroups"]
