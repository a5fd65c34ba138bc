"""A signal asks a command to end: it ends as after Ctrl-C, so that no half file and no temporary folder is left."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from metricforge.cli.signal_watch import told_of_signals
from metricforge.errors import STOPPED, TrainingStopped

NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
PATIENCE_SECONDS = 10.0  # clusters kill half a minute after their signal


class Stopped(KeyboardInterrupt):
    """The signal ``number`` arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def said_of(end: KeyboardInterrupt) -> str:
    """What ended the command, in words."""
    return str(end) if isinstance(end, Stopped) else "interrupted"


def status_after(end: KeyboardInterrupt) -> int:
    """The exit status that shells expect of a process that a signal ended."""
    return 128 + (end.number if isinstance(end, Stopped) else signal.SIGINT)


def was_stopped(end: SystemExit) -> bool:
    """Whether ``end`` is that of a training that a signal ended, whatever exit status its config asks for."""
    return isinstance(end.__context__, (Stopped, TrainingStopped))


@contextmanager
def interruptions_as_they_are() -> Iterator[None]:
    """Raise again the interruption that a library has turned into an error of its own, as mmengine's configs do."""
    try:
        yield
    except Exception as error:
        behind: BaseException | None = error
        while behind is not None and not isinstance(behind, KeyboardInterrupt):
            behind = behind.__cause__ or behind.__context__
        if behind is None:
            raise
        raise behind from None


@contextmanager
def queued_again() -> Iterator[None]:
    """Where a training is stopped before it trains: whoever queues a stopped training again is to do so here, too."""
    try:
        with interruptions_as_they_are():
            yield
    except Stopped as stop:
        print(f"{stop} before it trained; the same command begins it, or goes on with it", file=sys.stderr)
        sys.exit(STOPPED)  # checkpoint.exit_code may not be known yet


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Stopped`` in the main thread where a signal arrives that would end the process at once.

    Where a library computes on and Python cannot raise it, the process ends some seconds later. A training takes the
    signals over while it lasts, and several processes end as their watch says. A SIGHUP that is ignored stays ignored.
    """
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if not alone or threading.current_thread() is not threading.main_thread():
        with interruptions_as_they_are():
            yield
        return
    owner = os.getpid()
    received, left = threading.Event(), threading.Event()
    numbers = [number for name in NAMES if (number := getattr(signal, name, None)) is not None]
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        if os.getpid() != owner:  # a process that was forked from this one ends as if nobody had taken them over
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        for each in numbers:  # one is enough, and what follows tidies up
            signal.signal(each, signal.SIG_IGN)
        received.set()
        raise Stopped(number)

    def end_later(number: int) -> None:
        if number in numbers and (received.is_set() or signal.getsignal(number) is stop):
            if left.wait(PATIENCE_SECONDS):
                return
            print(f"stopped by {signal.Signals(number).name}", file=sys.stderr, flush=True)
            os._exit(128 + number)

    with told_of_signals(end_later):
        for number in numbers:
            signal.signal(number, stop)
        try:
            with interruptions_as_they_are():
                yield
        finally:
            left.set()
            for number in numbers:
                if signal.getsignal(number) in (stop, signal.SIG_IGN):
                    signal.signal(number, signal.SIG_DFL)
