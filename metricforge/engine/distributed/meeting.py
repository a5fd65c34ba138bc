"""Where processes that start together find each other, and no one else."""

from __future__ import annotations

import time
import uuid
from typing import Protocol

POLL_SECONDS = 0.05


class Store(Protocol):
    """What is needed of torch's stores."""

    def set(self, key: str, value: str) -> None:
        """Write ``value``."""

    def get(self, key: str) -> bytes:
        """Read a value, once there is one."""

    def check(self, keys: list[str]) -> bool:
        """Whether all of ``keys`` were written."""


def meet(store: Store, rank: int, world_size: int, patience_seconds: float) -> str:
    """Return a name that the ``world_size`` processes share, of which this is number ``rank``, and no earlier ones had.

    ``torchrun`` keeps its store when it restarts processes, with the addresses of those that died (PyTorch's issue
    135712), and its count of restarts differs between machines. So process 0 gives a new name to whoever says hello
    with a number that it drew itself, and is content once everybody has answered.

    Raises:
        TimeoutError: if they have not met within ``patience_seconds``.
    """
    deadline = time.monotonic() + patience_seconds

    def pause(missing: str) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} did not come within {patience_seconds:.0f} seconds")
        time.sleep(POLL_SECONDS)

    if rank == 0:
        name = uuid.uuid4().hex
        answered: set[bytes] = set()
        present: set[int] = set()
        while len(present) < world_size - 1:
            for other in range(1, world_size):
                if other in present:
                    continue
                if store.check([f"present/{name}/{other}"]):
                    present.add(other)
                elif store.check([f"hello/{other}"]):
                    hello = store.get(f"hello/{other}")
                    if hello not in answered:  # perhaps that of a process that has died
                        answered.add(hello)
                        store.set(f"name/{hello.decode()}", name)
            if len(present) < world_size - 1:
                pause(f"process {next(each for each in range(1, world_size) if each not in present)}")
        return name
    own = uuid.uuid4().hex
    store.set(f"hello/{rank}", own)
    while not store.check([f"name/{own}"]):
        pause("process 0")
    name = store.get(f"name/{own}").decode()
    store.set(f"present/{name}/{rank}", "1")
    return name
