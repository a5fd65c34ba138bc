"""Takes up an optimizer whose settings, or whose schedule, are no longer those of the checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, ReduceOnPlateauParamScheduler

# Another value of these leaves an optimizer's averages usable.
_NUMBERS = ("lr", "weight_decay", "momentum", "dampening", "nesterov", "betas", "eps", "alpha")
_STATE_STAYS = frozenset(f"optim_wrapper.optimizer.{name}" for name in _NUMBERS)
_NOT_OF_THE_OPTIMIZER = ("optim_wrapper.accumulative_counts", "optim_wrapper.clip_grad")


def changes_optimizer(changed: Collection[str]) -> bool:
    """Whether a setting in ``changed`` is the optimizer's or its schedule's."""
    return any(name.startswith(("optim_wrapper.", "param_scheduler")) for name in changed)


def take_up_changed(
    wrapper: OptimWrapper,
    schedulers: Sequence[Any],
    state: Mapping[str, Any],
    changed: Collection[str],
    iteration: int,
    batches_per_epoch: int,
) -> str | None:
    """Go on from the optimizer ``state`` after ``iteration`` updates, by the settings that ``wrapper`` has now.

    Schedules are gone through from their beginning, so that the learning rate is the one that an uninterrupted run of
    these settings has here; one that waits for a plateau begins anew. Where the state does not fit, the optimizer does.

    Returns:
        What a person has to know; None if nothing.
    """
    optimizer = wrapper.optimizer
    ours = [
        name for name in changed if name.startswith("optim_wrapper.") and not name.startswith(_NOT_OF_THE_OPTIMIZER)
    ]
    told: str | None = "the optimizer begins anew, because its state is of another one"
    if set(ours) <= _STATE_STAYS:
        settings = [{name: value for name, value in g.items() if name != "params"} for g in optimizer.param_groups]
        wrapper.load_state_dict(dict(state))
        for group, its in zip(optimizer.param_groups, settings, strict=True):
            group.update(its)
        told = None
    with warnings.catch_warnings():
        # of a step of the schedule before one of the optimizer
        warnings.filterwarnings("ignore", category=UserWarning, module="mmengine")
        for done in range(1, iteration + 1):
            for scheduler in schedulers:
                waits = isinstance(scheduler, ReduceOnPlateauParamScheduler)
                if not waits and (not scheduler.by_epoch or done % batches_per_epoch == 0):
                    scheduler.step()
    return told
