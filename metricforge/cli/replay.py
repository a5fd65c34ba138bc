"""``metricforge train CONFIG --replay FILE``: repeat the update with which a training became NaN or infinite."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor, nn

from metricforge.engine.metric_runner import MetricRunner
from metricforge.engine.records.culprit import Culprit, checkpoint_before, read_culprit
from metricforge.engine.records.shard_files import copy_checkpoint
from metricforge.errors import ConfigError, NonFiniteLossError
from metricforge.models.own_rows import own_rows
from metricforge.runner import build_runner

SHOWN = 8


def replay(arguments: argparse.Namespace, console: Console) -> None:
    """Train from the checkpoint before the batch of ``arguments.replay`` up to it; the run itself is left alone.

    Raises:
        ConfigError: for options that would make it another run.
        CheckpointError: for a file that is none of a batch, or a config that is not the run's.
    """
    if arguments.resume or arguments.work_dir or arguments.allow_changes:
        raise ConfigError(
            ["--replay: trains in a folder of its own, the same as before; leave --resume, --work-dir and "
             "--allow-changes out"],
            "the command",
        )  # fmt: skip
    path = Path(arguments.replay)
    culprit = read_culprit(path)
    start = checkpoint_before(culprit, path.parent)
    with tempfile.TemporaryDirectory(prefix="metricforge-replay-") as folder:
        if start is not None:
            copy_checkpoint(start, Path(folder))
        runner = build_runner(
            arguments.config,
            overrides=arguments.cfg_options,
            work_dir=folder,
            resume=start is not None,
            seed=arguments.seed,
            device=arguments.device,
            console=console,
        )
        runner.train_loop.checks_every_update = True
        _say(console, f"repeats update {culprit.iteration + 1:,} from {start or 'the start'}; it became:")
        _say(console, f"  {culprit.message}")
        found = _repeat(runner, culprit)
    for line in found:
        _say(console, line)
    for location in culprit.locations[:SHOWN]:
        _say(console, f"  image {location}")
    if len(culprit.locations) > SHOWN:
        _say(console, f"  and {len(culprit.locations) - SHOWN} more in {path}")


def _repeat(runner: MetricRunner, culprit: Culprit) -> list[str]:
    """Train up to the batch, and say in some lines what came of it."""
    with _noting(runner.model) as (noted, broken):
        try:
            runner.train_loop.max_epochs = min(runner.train_loop.max_epochs, culprit.epoch + 1)
            runner.train()
        except NonFiniteLossError as error:
            same = error.iteration == culprit.iteration and repr(error.scalars) == repr(dict(culprit.scalars))
            earlier = error.iteration < culprit.iteration or not culprit.scalars
            verdict = "the same, bit for bit" if same else "found" if earlier else "another one"
            lines = [f"repeated: {verdict}: {error.args[0]}"]
            # of several processes each has seen its images, and the gradients of its rows
            first = min((its for its in runner.processes.gather_values(noted[:1]) if its), default=[])
            lines += [f"not finite first in the forward pass: {first[0][1]}"] if first else []
            named = list(dict.fromkeys(name for its in runner.processes.gather_values(broken) for name in its))
            return lines + ([f"gradients that are not finite: {', '.join(named[:SHOWN])}"] if named else [])
    return ["not repeated: everything stayed finite; was it trained by another version, machine or number of threads?"]


@contextmanager
def _noting(model: nn.Module) -> Iterator[tuple[list[tuple[int, str]], list[str]]]:
    """Collect modules whose output is not finite, each with its place in the order of computing, and such gradients."""
    noted: list[tuple[int, str]] = []
    broken: list[str] = []
    places = count()

    def note(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            place = next(places)
            if isinstance(output, Tensor) and output.is_floating_point() and not _finite(output):
                noted.append((place, f"{name} ({type(module).__name__})"))

        return look

    def look_at_gradient(name: str, parameter: Tensor) -> None:
        if parameter.grad is not None and not _finite(parameter.grad):
            broken.append(name)

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    hooks += [
        parameter.register_post_accumulate_grad_hook(partial(look_at_gradient, name))  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield noted, broken
    finally:
        for hook in hooks:
            hook.remove()


def _finite(tensor: Tensor) -> bool:
    values = tensor.coalesce().values() if tensor.is_sparse else own_rows(tensor)
    return bool(values.isfinite().all())


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
