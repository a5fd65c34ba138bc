"""Configs with one or two mistakes, as fingers, scripts and copied lines make them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 2**31, 2**40, -(2**70), 0.5, -0.5, 1e10, float("nan"), float("inf")),
    *("", "x", "None", "1", "0.1", "TripletLoss", "a.b", "\0", "é"),
    *([], [1], [None], ["x"], [[]], [{}], (), (1, 2)),
    *({}, {"type": "x"}, {"type": None}, {"type": []}, {"type": {}}, {"type": 3}, {"a": 1}, {1: 2}),
    *({"type": "TripletLoss"}, {"type": "RecallAtK"}, {"type": "GlyphNet"}, {"type": "StepLR"}, {"type": "Adam"}),
    *(
        {"type": "OneCycleLR"},
        {"type": "LinearLR"},
        {"type": "SGD", "lr": 1},
        {"type": "EMAHook"},
        {"type": "Normalize"},
    ),
    *(np.float32(0.5), np.arange(3), torch.tensor(1.0), Path("x"), len, 1j, b"x", {1}, range(3), "a'b"),  # of scripts
)
KEYS = ("type", "x", "lr", "ks", "root", "seed", "_delete_", "", "a'b", 1, "begin", "interval")


def mutated(config: Mapping[str, Any], rng: random.Random) -> tuple[dict[str, Any], str]:
    """A copy of ``config`` with one to three mistakes, and what they are."""
    changed = copy.deepcopy(dict(config))
    told = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(_paths(changed, ())))
        holder = _at(changed, path[:-1])
        match rng.randrange(6):
            case 0 | 1 | 2:
                value = copy.deepcopy(rng.choice(VALUES))
                told.append(f"{path} = {value!r}")
                holder[path[-1]] = value
            case 3:
                told.append(f"del {path}")
                del holder[path[-1]]
            case 4:
                key, value = rng.choice(KEYS), copy.deepcopy(rng.choice(VALUES))
                target = _at(changed, path)
                target = target if isinstance(target, dict) else holder if isinstance(holder, dict) else changed
                told.append(f"{path} gets {key!r}: {value!r}")
                target[key] = value
            case 5:
                other = copy.deepcopy(_at(changed, rng.choice(list(_paths(changed, ())))))
                told.append(f"{path} = {other!r}")
                holder[path[-1]] = other
        if not changed:
            break
    return changed, "; ".join(told)


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _paths(inner, (*path, number))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value
