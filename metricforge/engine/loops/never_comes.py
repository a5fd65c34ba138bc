"""What a config asks for at a time that its training does not come to, and which would be missing in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def never_comes(config: Mapping[str, Any], batches: int) -> Iterator[str]:
    """Say in a line each what a training of ``batches`` updates per epoch ends before.

    Whoever tries a recipe out with fewer epochs wants it to run, so these are warnings.
    """
    loop, saving = config["train_cfg"], config.get("checkpoint") or {}
    epochs = loop["max_epochs"]
    if loop.get("warmup_epochs", 0) > epochs:
        yield f"train_cfg.warmup_epochs: {loop['warmup_epochs']} of {epochs} epochs: the backbone stays as it is"
    validates = loop.get("val_interval", 1)
    if validates > epochs:
        yield f"train_cfg.val_interval: {validates} of {epochs} epochs: only the last is validated"
    if saving.get("interval", 1) > epochs:
        yield f"checkpoint.interval: {saving['interval']} of {epochs} epochs: nothing is saved before the end"
    updates = saving.get("interval_iterations") or 0
    if updates > epochs * batches:
        yield f"checkpoint.interval_iterations: {updates} of {epochs * batches} updates: never comes"
    every = (config.get("optim_wrapper") or {}).get("accumulative_counts", 1)
    if every > epochs * batches:
        yield f"optim_wrapper.accumulative_counts: {every} of {epochs * batches} updates: one step, at the end"
    schedules = config.get("param_scheduler") or []
    for number, schedule in enumerate(schedules if isinstance(schedules, (list, tuple)) else [schedules]):
        yield from _of_schedule(schedule, f"param_scheduler[{number}]", epochs, batches)
    validations = -(-epochs // validates) if validates else 0
    for number, hook in enumerate(config.get("custom_hooks") or []):
        patience = hook.get("patience", 5)
        waits_alone = hook.get("type") == "EarlyStoppingHook" and hook.get("stopping_threshold") is None
        if waits_alone and patience >= validations - 1:
            yield f"custom_hooks[{number}].patience: {patience} of {validations} validations: never ends training"
        if hook.get("type") == "EMAHook":
            first = max(hook.get("begin_iter", 0), (hook.get("begin_epoch", 0) - 1) * batches + 1, 1)
            averaged, interval = epochs * batches - first, hook.get("interval", 1)
            if interval > averaged:
                yield (
                    f"custom_hooks[{number}].interval: {interval} of {averaged} updates: averages nothing, and weights "
                    f"are scored as they are after update {first}"
                )


def too_short(config: Mapping[str, Any], batches: int) -> Iterator[str]:
    """Say of each schedule of a fixed length, whose library raises an error beyond it, that training is longer."""
    schedules = config.get("param_scheduler") or []
    for number, schedule in enumerate(schedules if isinstance(schedules, (list, tuple)) else [schedules]):
        if schedule.get("total_steps") is None:
            continue
        in_updates = not schedule.get("by_epoch", True)
        epochs = config["train_cfg"]["max_epochs"]
        total, unit = (epochs * batches, "updates") if in_updates else (epochs, "epochs")
        steps = min(total, schedule.get("end", total)) - schedule.get("begin", 0)
        if schedule["total_steps"] < steps:
            given = schedule["total_steps"]
            yield f"param_scheduler[{number}].total_steps: {given} must be at least the {steps} {unit}"


def _of_schedule(schedule: Mapping[str, Any], path: str, epochs: int, batches: int) -> Iterator[str]:
    """Beginnings and milestones that come after the last update with the rate that they set."""
    in_updates = not schedule.get("by_epoch", True)
    total, unit = (epochs * batches, "updates") if in_updates else (epochs, "epochs")
    begin = schedule.get("begin", 0)
    if begin >= total:
        yield f"{path}.begin: {begin} of {total} {unit}: never comes, and the schedule has no effect"
        return
    late = [each for each in schedule.get("milestones", ()) if begin + each >= total]
    if late:
        after = f" after begin ({begin})" if begin else ""
        named = ", ".join(str(each) for each in late)
        yield f"{path}.milestones: {named}{after} of {total} {unit}: never come{'' if len(late) > 1 else 's'}"
