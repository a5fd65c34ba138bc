"""The contract of a hook as a test."""

from __future__ import annotations

import inspect

from mmengine.hooks import Hook

from metricforge.registration_checks import unknown_points
from metricforge.testing.clause import clause, require


def check_hook(hook: Hook) -> None:
    """Test a hook against the contract.

    - it derives from ``mmengine.hooks.Hook``;
    - it overrides at least one of the points of a run, and a public method ``before_...`` or ``after_...`` is one;
    - each takes the arguments that it is called with, such as ``metrics`` of ``after_val_epoch``.

    Args:
        hook: the hook.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(hook, "it is a hook"):
        require(isinstance(hook, Hook), "not a mmengine.hooks.Hook")
    points = {name for name in vars(Hook) if name.startswith(("before_", "after_"))}
    own = {name for cls in type(hook).__mro__ if not issubclass(Hook, cls) for name in vars(cls)}
    with clause(hook, "it overrides a point of the run"):
        unknown = unknown_points(type(hook))
        require(not unknown, f"{', '.join(unknown)}: a run has no such point, so it would never be called")
        require(bool(own & points), f"none of {', '.join(sorted(points))}")
    for name in sorted(own & points):
        with clause(hook, f"{name} takes what it is called with"):
            called_with = list(inspect.signature(getattr(Hook, name)).parameters)[2:]  # after self and runner
            try:
                inspect.signature(getattr(hook, name)).bind(None, **dict.fromkeys(called_with))
            except TypeError as fault:
                require(False, f"it is called with runner, {', '.join(called_with) or 'and nothing else'}: {fault}")
