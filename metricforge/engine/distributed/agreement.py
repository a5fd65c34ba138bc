"""Whether several processes are about to train the same run, and what differs if they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from metricforge.datasets import ImageDataset
from metricforge.engine.distributed.processes import Processes
from metricforge.errors import ProcessesDifferError

SHOWN = 8  # differences in a message
BLOCK = 1024  # images whose descriptions are compared at once
WAY_OUT = (
    "start the same command on every machine, with the same code and the same files; only where they lie may differ "
    "(data_root, root and table of a data set)"
)


def check_same(processes: Processes, facts: Mapping[str, str]) -> None:
    """Compare ``facts``, name to value, between the processes; all of them call it.

    Raises:
        ProcessesDifferError: on all of them, with the first facts that differ and which process has which value.
    """
    if not processes.several or _are_equal(processes, sorted(facts.items())):
        return
    everyone = processes.gather_values(dict(facts))
    names = dict.fromkeys(name for its in everyone for name in its)
    found = [(name, [its.get(name, "absent") for its in everyone]) for name in names]
    raise _differ([f"{name}: {_by_process(values)}" for name, values in found if len(set(values)) > 1])


def check_same_images(processes: Processes, datasets: Mapping[str, ImageDataset]) -> None:
    """Compare the ``datasets``, name to images, between the processes by fingerprint; all of them call it.

    Raises:
        ProcessesDifferError: on all of them, with the first image that differs.
    """
    if not processes.several:
        return
    faults = []
    for name, images in datasets.items():
        if not _are_equal(processes, images.fingerprint()):
            faults.append(f"{name}: {_first_difference(processes, images)}")
    if faults:
        raise _differ(faults)


def _first_difference(processes: Processes, images: ImageDataset) -> str:
    """What distinguishes ``images`` from those of the other processes: their number, the first image, or the rest."""
    counts = processes.gather_values(f"{len(images):,} {images.unit} of {images.num_classes:,} classes")
    if len(set(counts)) > 1:
        return _by_process(counts)
    described = [images.entry(index) for index in range(len(images))]
    blocks = [_digest(described[start : start + BLOCK]) for start in range(0, len(described), BLOCK)]
    differing = next(
        (at for at, its in enumerate(zip_longest(*processes.gather_values(blocks))) if len(set(its)) > 1), None
    )
    if differing is None:
        return "the names of classes, roles, groups, cameras, boxes or values differ"
    start = differing * BLOCK
    everyone = processes.gather_values(described[start : start + BLOCK])
    for at, entries in enumerate(zip(*everyone, strict=True)):
        if len(set(entries)) > 1:
            return f"{images.unit.removesuffix('s')} {start + at} is {_by_process(entries)}"
    raise AssertionError("the blocks have different digests")


def _are_equal(processes: Processes, value: object) -> bool:
    return len(set(processes.gather_values(_digest(value)))) == 1


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _by_process(values: Sequence[str]) -> str:
    """``values``, one a process, as ``0.2 on processes 0 and 2, 0.3 on process 1``."""
    holders: dict[str, list[str]] = {}
    for rank, value in enumerate(values):
        holders.setdefault(value, []).append(str(rank))
    return ", ".join(
        f"{value} on process{'es' if len(ranks) > 1 else ''} "
        + (ranks[0] if len(ranks) == 1 else f"{', '.join(ranks[:-1])} and {ranks[-1]}")
        for value, ranks in holders.items()
    )


def _differ(faults: Sequence[str]) -> ProcessesDifferError:
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    listed = "".join(f"\n  - {fault}" for fault in [*faults[:SHOWN], *more])
    return ProcessesDifferError(f"the processes were not started alike:{listed}\n{WAY_OUT}")
