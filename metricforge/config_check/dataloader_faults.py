"""What is wrong with a config's data loaders: data set, transforms, sampler, workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.registry import KINDS
from metricforge.spelling import nearest

MOST_WORKERS = 1024  # of one process: a slip of the finger must not start as many as the system allows


def train_dataloader_faults(loader: Any) -> list[str]:
    """Faults of ``train_dataloader``, its sampler included."""
    path = "train_dataloader"
    known = {"dataset", "sampler", "num_workers", "unreadable", "decode", "cache", "fingerprint"}
    faults = dataloader_faults(loader, path, known, {"dataset"})
    if not isinstance(loader, Mapping):
        return faults
    if loader.get("unreadable", "error") not in ("error", "skip"):
        faults.append(f'{path}.unreadable: {loader["unreadable"]!r} must be "error" or "skip"')
    if not loader.get("sampler"):
        faults.append(
            f"{path}.sampler: is missing, so images would come in their stored order, one class after the other; "
            f"choose one of {KINDS['sampler'].names()}"
        )
    else:
        derived = {"labels": None, "groups": None, "seed": None, "rank": None, "world_size": None}
        faults += KINDS["sampler"].faults(loader["sampler"], f"{path}.sampler", derived)
    return faults


def dataloader_faults(part: Any, path: str, known: set[str], datasets: set[str]) -> list[str]:
    """Faults of the data loader at ``path``: keys beyond ``known``, numbers, and the ``datasets`` that it must have."""
    if not isinstance(part, Mapping):
        return [f"{path}: {part!r} must be a dict with the keys {', '.join(sorted(known))}"]
    faults = [f"{path}.{key}: there is no such key{nearest(key, sorted(known))}" for key in part if key not in known]
    for key, low, high in (("batch_size", 1, 2**31 - 1), ("num_workers", 0, MOST_WORKERS)):
        number = part.get(key, low)
        if key in known and (isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high):
            faults.append(f"{path}.{key}: {number!r} must be an integer from {low} to {high}")
    if part.get("decode", "full") not in ("full", "fast", "device"):
        faults.append(f'{path}.decode: {part["decode"]!r} must be "full", "fast" or "device"')
    if part.get("fingerprint", "sizes") not in ("sizes", "bytes"):
        faults.append(f'{path}.fingerprint: {part["fingerprint"]!r} must be "sizes" or "bytes"')
    if part.get("decode") == "device":
        for key, wanted in (("cache", part.get("cache")), ("unreadable", part.get("unreadable") == "skip")):
            if wanted:
                faults.append(
                    f'{path}.{key}: {part[key]!r} is for images that workers decode; leave it out, or decode="device"'
                )
    if not isinstance(part.get("cache", ""), str):
        faults.append(f"{path}.cache: {part['cache']!r} must be the name of a folder")
    for key in sorted(datasets):
        if not part.get(key):
            faults.append(f"{path}.{key}: is missing; choose one of {KINDS['dataset'].names()}")
            continue
        faults += KINDS["dataset"].faults(part[key], f"{path}.{key}", {})
        if isinstance(part[key], Mapping):
            steps = part[key].get("transform") or []
            if not isinstance(steps, (list, tuple)):
                faults.append(f"{path}.{key}.transform: {steps!r} must be a list of transforms")
                continue
            for number, transform in enumerate(steps):
                faults += KINDS["transform"].faults(transform, f"{path}.{key}.transform[{number}]", {})
    return faults
