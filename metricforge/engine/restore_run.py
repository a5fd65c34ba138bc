"""Puts a resumed run into the state of its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metricforge.engine.distributed.agreement import check_same
from metricforge.engine.distributed.sharded_parameters import take_own_rows
from metricforge.engine.optim.changed_schedule import changes_optimizer, take_up_changed
from metricforge.engine.records.checkpoints import BEST, open_checkpoint
from metricforge.engine.records.config_changes import changes_scores, describe_changes
from metricforge.engine.records.load_weights import load_weights
from metricforge.engine.records.resume_point import ResumePoint
from metricforge.engine.records.shard_files import check_shards
from metricforge.errors import CheckpointError


def restore_run(runner: Any, point: ResumePoint) -> None:
    """Load weights, optimizer, schedulers, position and choice of ``point`` into ``runner``, and say so.

    Raises:
        CheckpointError: if the checkpoint does not fit, or processes read different ones.
    """
    path = point.path
    for note in point.notes:
        runner.say(note)
    checkpoint = _load_like_others(runner, path)
    meta = checkpoint["meta"]
    batches = len(runner.train_dataloader)
    take_own_rows(checkpoint, runner.model, runner.optim_wrapper.optimizer)
    runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
    load_weights(runner.model, checkpoint, path)
    _restore_optimizer(runner, checkpoint, point)
    for name, parameter in runner.model.named_parameters():
        if name in checkpoint.get("gradients", {}):
            parameter.grad = checkpoint["gradients"][name].to(parameter.device)
    # what scores mean may have changed: then neither would compare with what is scored from now on
    comparable = not changes_scores(point.changes)
    _restore_choice(runner, meta["candidates"], comparable=comparable)
    if comparable:
        changed = {name.split(".")[1] for name in point.changes if name.startswith("baselines.")}
        runner.baseline_scores = {name: its for name, its in meta["baselines"].items() if name not in changed}
    runner.changes = point.changes
    runner.scored.note_saved(path, meta["iteration"])
    runner.train_loop.set_position(meta["iteration"])
    for line in describe_changes(point.changes):
        runner.say(f"changed  {line}")
    runner.say(
        f"resumed from {path.name}: epoch {meta['iteration'] // batches + 1}, "
        f"iteration {meta['iteration'] % batches} of {batches}"
    )


def _load_like_others(runner: Any, path: Path) -> dict[str, Any]:
    """Read a checkpoint that every process reads, each perhaps from a disk of its own."""
    name = f"the checkpoint {path}"
    try:
        checkpoint, read = open_checkpoint(path)
    except CheckpointError as error:
        check_same(runner.processes, {name: str(error)})
        raise
    check_same(runner.processes, {name: read})
    return checkpoint


def _restore_optimizer(runner: Any, checkpoint: dict[str, Any], point: ResumePoint) -> None:
    schedulers = runner.param_schedulers or []
    if changes_optimizer(point.changes):
        done, batches = checkpoint["meta"]["iteration"], len(runner.train_dataloader)
        told = take_up_changed(runner.optim_wrapper, schedulers, checkpoint["optimizer"], point.changes, done, batches)
        if told:
            runner.say(told)
        return
    runner.optim_wrapper.load_state_dict(checkpoint["optimizer"])
    for scheduler, state in zip(schedulers, checkpoint["param_schedulers"], strict=True):
        scheduler.load_state_dict(state)


def _restore_choice(runner: Any, state: dict[str, Any], *, comparable: bool) -> None:
    """Go on choosing where the checkpoint left off, if the best weights until then are still there."""
    runner.choice.load_state_dict(state)
    if not comparable:
        runner.choice.forget()
    runner.choice.test_looks = max(state["test_looks"], runner.scored.read_test_looks(runner.run_dir))
    if runner.choice.iteration is None:
        return
    path = runner.run_dir / BEST

    def is_kept() -> bool:
        try:
            best, _ = open_checkpoint(path)
            check_shards(best)
        except CheckpointError as error:
            runner.say(str(error))
            return False
        return bool(best["meta"]["iteration"] >= runner.choice.iteration)

    if not runner.processes.from_main(is_kept):
        runner.say(f"{path}: the best weights so far are not there; they are chosen among the epochs from here on")
        runner.choice.forget()
