"""Notices that the system wants a training to end, such as a cluster that needs the machine, and lets it end well."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")  # USR2 is the warning that submitit asks Slurm for


class StopsAtOnce(BaseException):
    """A signal arrived where a training may end at once.

    No ``Exception``: whoever turns what a decoder or a library raises into an error of their own would take the image,
    or the library, for the cause.
    """


class StopSignals:
    """Remembers a SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP that arrives while a training is ``listening``.

    An update is never cut: the training asks for ``received`` after each. Where no weights change, as in a validation,
    ``ends_at_once`` may be set: the signal then raises ``StopsAtOnce`` wherever the process is.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.ends_at_once = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over, in the main thread; elsewhere Python does not let anyone.

        A SIGHUP that is ignored, as ``nohup`` asks for, stays ignored.
        """
        self.received = None
        before = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
            before = {
                number: signal.signal(number, self._receive)
                for number in numbers
                if signal.getsignal(number) is not signal.SIG_IGN
            }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        if self.ends_at_once:
            self.ends_at_once = False  # one is enough: what follows saves
            raise StopsAtOnce(self.received)
