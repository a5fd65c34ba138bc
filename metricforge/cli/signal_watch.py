"""Tells a thread of signals, also while a library computes on in the main one and Python cannot run their handlers."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def told_of_signals(tell: Callable[[int], None]) -> Iterator[None]:
    """Call ``tell`` with the number of each signal that arrives and has a handler, in a thread of its own.

    For the main thread; what was told of signals before is told again afterwards.
    """
    reads, writes = socket.socketpair()
    writes.setblocking(False)
    before = signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while told := reads.recv(1):
            tell(told[0])

    threading.Thread(target=watch, daemon=True, name="signals").start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writes.close()
