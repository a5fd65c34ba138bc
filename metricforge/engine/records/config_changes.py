"""Compares the config of a resumed run with the earlier one: which changes are allowed, and which are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metricforge.errors import CheckpointError

Changes = dict[str, tuple[Any, Any]]
ABSENT = "not set"
TRAIN_IMAGES, TEST_IMAGES, BATCHES = "training images", "test images", "batches per epoch"
# These affect what is reported, not what is trained. Where images are stored is judged by their fingerprints.
_FREE = re.compile(
    r"(evaluators|final_evaluators|clustering|baselines|readout|visualizer|test_cfg|doctor)(\..*)?"
    r"|train_cfg\.(val_interval|log_interval|hang_seconds|shard_backbone)"
    r"|checkpoint\.(interval|interval_iterations|max_keep|exit_code|on_error|background|sharded)"
    r"|\w+_dataloader\.(num_workers|cache)|(test|val)_dataloader\.batch_size"
    r"|plugins(\..*)?|data_root|\w+_dataloader\.dataset\.(root|table)"
)
_SCORED = re.compile(r"(evaluators|final_evaluators|clustering|test_cfg|test_dataloader|validation)(\..*)?|test images")
_EPOCHS = "train_cfg.max_epochs"
WAY_OUT = (
    "a resumed run is the same run, in which only more epochs, evaluators, logging and workers may change. "
    "--allow-changes makes these changes take effect and notes them in history.jsonl; a new run is another --work-dir"
)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config by dotted key, plain enough for a checkpoint; a list of values is one value."""
    content = {key: value for key, value in config.items() if not key.startswith("_")}
    return dict(_leaves(content | {"seed": int(config.get("seed", 0))}, ""))


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return each setting that differs, with its old and its new value."""
    names = dict.fromkeys([*before, *now])
    pairs = {name: (before.get(name, ABSENT), now.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def check_changes(changes: Changes, source: str, *, allowed: bool) -> None:
    """Refuse changes that make it a different run, unless they are ``allowed``, and changes that cannot take effect.

    Raises:
        CheckpointError: lists every such setting with its old and its new value.
    """
    refused = [name for name, pair in changes.items() if not _is_free(name, pair)]
    if allowed and BATCHES not in refused:
        return
    listed = "".join(f"\n  - {line}" for line in describe_changes({name: changes[name] for name in refused}))
    if allowed:
        raise CheckpointError(
            f"{source}: cannot be resumed with another number of batches per epoch, not even with --allow-changes, "
            f"because its iterations would no longer be counted alike:{listed}\ntrain it as a new run (another "
            "--work-dir)"
        )
    if refused:
        raise CheckpointError(f"{source}: cannot be resumed with another config:{listed}\n{WAY_OUT}")


def describe_changes(changes: Changes) -> list[str]:
    """Describe each change in a line, such as ``optim_wrapper.optimizer.lr: 0.001 -> 0.01``."""
    return [f"{name}: {before} -> {now}" for name, (before, now) in changes.items()]


def of_another_run(changes: Changes) -> list[str]:
    """Name the settings that make two runs differ in what is trained, apart from the seed."""
    pairs = {name: (pair, pair[::-1]) for name, pair in changes.items() if name != "seed"}
    return [name for name, both in pairs.items() if not all(_is_free(name, pair) for pair in both)]


def changes_scores(changes: Changes) -> bool:
    """Whether earlier scores do not compare with later ones."""
    return any(_SCORED.fullmatch(name) or name == "checkpoint.save_best" for name in changes)


def _is_free(name: str, pair: tuple[Any, Any]) -> bool:
    if name == _EPOCHS:
        return all(isinstance(value, int) for value in pair) and pair[1] > pair[0]
    return _FREE.fullmatch(name) is not None


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{number}")
    elif isinstance(value, (list, tuple)):
        yield name, [_plain(inner) for inner in value]
    else:
        yield name, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or type(value) in (bool, int, float, str) else repr(value)
