"""What turns mmengine's Runner into a trainer that can be killed, resumed and trusted.

Each module closes some of its traps and says which.
"""

from metricforge.engine.optim.autocast_optim_wrapper import AutocastOptimWrapper
from metricforge.engine.optim.parameter_groups import ParameterGroups

__all__ = ["AutocastOptimWrapper", "ParameterGroups"]
