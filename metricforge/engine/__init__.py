"""What turns mmengine's Runner into a trainer that can be killed, resumed and trusted.

Each module closes some of its traps and says which.
"""

from metricforge.engine.autocast_optim_wrapper import AutocastOptimWrapper
from metricforge.engine.parameter_groups import ParameterGroups

__all__ = ["AutocastOptimWrapper", "ParameterGroups"]
