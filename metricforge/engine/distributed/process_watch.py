"""Notices that one of several processes died, hangs or failed, names it, and ends the others.

A process that waits for another in gloo or NCCL cannot be interrupted, and what it raises once a connection breaks
names no one. Here a thread in each process gives signs of life through the store that ``torchrun`` keeps, and looks
for those of the next process. Who notices something first writes it into the store, where all others read it.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, Protocol

import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from metricforge.engine.distributed.doorbell import Doorbell, knock

BEAT_SECONDS = 0.5
SILENT_SECONDS = 60.0  # without a sign of life: a library may hold the interpreter for some of them
BROKEN_SECONDS = 4.0  # the same, once a connection has broken: then somebody has died
KNOCKS = 2  # without an answer, one after the other: a machine may lose one
HEARD_SECONDS = 5.0  # that a failed process waits for process 0 to print what happened
CONNECT_SECONDS = 60.0
EXIT_CODE = 1
_SIGNS_OF_OTHERS = ("gloo", "connection closed by peer", "connection reset", "nccl", "socket", "broken pipe")


class Store(Protocol):
    """What is needed of torch's stores."""

    def set(self, key: str, value: str) -> None:
        """Write ``value``."""

    def get(self, key: str) -> bytes:
        """Read a value."""

    def check(self, keys: list[str]) -> bool:
        """Whether all of ``keys`` were written."""

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        """Write ``desired`` if there is no value yet, and read what is there then."""


class ProcessWatch:
    """Watches over ``world_size`` processes, of which this is number ``rank``, from ``start`` to ``stop``.

    Args:
        store: a connection of its own; one that the main thread uses too would wait with it.
        rank: of this process.
        world_size: how many there are.
        meeting_place: host and port of the store; None: it is not to be knocked at.
    """

    def __init__(self, store: Store, rank: int, world_size: int, meeting_place: tuple[str, int] | None = None) -> None:
        self._store = store
        self.rank = rank
        self._meeting_place = meeting_place
        self._doorbell: Doorbell | None = None
        self._door_of_next: tuple[str, int] | None = None  # once it was found to answer
        self._unanswered = 0
        self._looked_at = time.monotonic()
        self._next = (rank + 1) % world_size
        self._ended = threading.Event()
        self._waits = 0  # for other processes
        self._limit: float | None = None  # seconds that an update may take; None: no update is being made
        self._since = time.monotonic()
        self._update = 0
        self._heard: dict[str, Any] = {}
        self._heard_at = time.monotonic()
        self._silence = SILENT_SECONDS
        self._failed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="process-watch")
        self._line = threading.Thread(target=self._watch_line, daemon=True, name="line-watch")

    def start(self) -> None:
        """Begin to give and to expect signs of life."""
        if self._meeting_place is not None:
            with suppress(OSError):  # then silence is all that others have to go by
                self._doorbell = Doorbell(*self._meeting_place)
            self._line.start()
        self._thread.start()

    def stop(self) -> None:
        """End, and tell the others that silence is no fault from now on."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(timeout=5)
        with suppress(Exception):  # whatever torch raises if the store is gone already
            self._store.set(f"alive/{self.rank}", json.dumps({"beat": -1, "left": True, "hangs": False}))
        if self._doorbell is not None:
            self._doorbell.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While it is open this process waits for others, so it is not the one that hangs."""
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    def update(self, number: int, limit: float | None) -> None:
        """Update ``number`` begins, which is to end within ``limit`` seconds; None: no update is being made."""
        self._since, self._update, self._limit = time.monotonic(), number, limit

    def blame(self, what: str, *, said: bool = False) -> None:
        """Tell all processes that this one failed, unless another did before; ``said``: it printed it itself."""
        self._tell(self.rank, what, said=said)

    def hurry(self) -> None:
        """Lose patience with silence: somebody has probably died."""
        self._silence = BROKEN_SECONDS

    def await_end(self) -> None:
        """Wait for the end, because a connection to another process broke or this one failed; return if none comes."""
        self.hurry()
        self._failed.wait(BROKEN_SECONDS + HEARD_SECONDS)
        if self._failed.is_set():
            self._ended.wait(HEARD_SECONDS + 2)  # the thread ends the process

    # ------------------------------------------------------------------ the thread

    def _watch(self) -> None:
        beat, lost_since = 0, None
        while not self._ended.wait(BEAT_SECONDS):
            beat += 1
            try:
                self._look(beat)
                lost_since, self._looked_at = None, time.monotonic()
            except Exception as error:  # whatever torch raises once the store is gone
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > BROKEN_SECONDS and not self._ended.is_set():
                    self._end(f"torchrun, or the process that all others meet at, is gone ({_line(error)})", said=False)

    def _watch_line(self) -> None:
        """End this process if the machine with the store is gone: what asks it waits for a quarter of an hour."""
        assert self._meeting_place is not None
        unanswered = 0
        while not self._ended.wait(BEAT_SECONDS):
            late = time.monotonic() - self._looked_at > BROKEN_SECONDS
            unanswered = unanswered + 1 if late and knock(*self._meeting_place) == "is silent" else 0
            if unanswered == KNOCKS and not self._ended.is_set():
                host, port = self._meeting_place
                self._end(
                    f"process {self.rank} (pid {os.getpid()} on {socket.gethostname()}) no longer reaches "
                    f"{host}:{port}, where all processes meet: that machine or the connection to it is gone",
                    said=False,
                )

    def _look(self, beat: int) -> None:
        age = time.monotonic() - self._since
        own = {"beat": beat, "host": socket.gethostname(), "pid": os.getpid(), "update": self._update}
        stands_still = self._limit is not None and age > self._limit
        own |= {"hangs": stands_still and not self._waits, "age": round(age)}
        if self._doorbell is not None:
            self._doorbell.clear()
            own["door"] = self._doorbell.place
        self._store.set(f"alive/{self.rank}", json.dumps(own))
        if self._store.check(["failed"]):
            told = json.loads(self._store.get("failed"))
            self._failed.set()
            self._end(told["what"], said=told["said"], rank=told["rank"])
        key = f"alive/{self._next}"
        heard = json.loads(self._store.get(key)) if self._store.check([key]) else {}
        if heard.get("beat") != self._heard.get("beat"):
            if not self._heard and heard.get("door") and knock(*heard["door"]) == "answers":
                self._door_of_next = tuple(heard["door"])
            self._heard, self._heard_at, self._unanswered = heard, time.monotonic(), 0
        if not self._heard or self._heard.get("left"):
            return  # whether one begins at all is torchrun's affair
        silent = time.monotonic() - self._heard_at
        if silent > BROKEN_SECONDS and self._door_of_next is not None:
            self._knock_at_next(*self._door_of_next)
        elif silent > self._silence:
            self._tell(
                self._next, f"gave no sign of life for {self._silence:.0f} seconds: it was killed or stands still"
            )
        elif self._heard["hangs"]:
            self._tell(
                self._next,
                f"hangs: it has been at update {self._heard['update'] + 1:,} for {self._heard['age']} seconds, and the "
                "others wait for it (train_cfg.hang_seconds)",
            )

    def _knock_at_next(self, host: str, port: int) -> None:
        """Find out why the next process gives no sign of life, and tell it if that is for good."""
        answer = knock(host, port)
        self._unanswered = self._unanswered + 1 if answer == "is silent" else 0
        silent = time.monotonic() - self._heard_at
        if answer == "refuses":
            self._tell(self._next, f"ended without a word {silent:.0f} seconds ago: it was killed, or left by os._exit")
        elif self._unanswered == KNOCKS:
            self._tell(
                self._next,
                f"cannot be reached for {silent:.0f} seconds: its machine or the connection to it is gone",
            )
        elif answer == "answers" and silent > SILENT_SECONDS:
            self._tell(self._next, f"gave no sign of life for {silent:.0f} seconds: it stands still")

    def _tell(self, rank: int, what: str, *, said: bool = False) -> None:
        where = self._heard if rank == self._next else {"host": socket.gethostname(), "pid": os.getpid()}
        named = f"process {rank} (pid {where.get('pid')} on {where.get('host')}) {what}"
        self._store.compare_set("failed", "", json.dumps({"rank": rank, "what": named, "said": said}))

    def _end(self, what: str, *, said: bool, rank: int | None = None) -> None:
        """End this process; process 0 prints why, or if it is the one, the process before it."""
        if rank is None:  # without a store they cannot agree who speaks
            if os.environ.get("LOCAL_RANK", "0") == "0" or "TORCHELASTIC_USE_AGENT_STORE" not in os.environ:
                print(f"\nerror: {what}", file=sys.stderr, flush=True)
        elif not said and (self.rank == 0 if rank != 0 else self._next == 0):
            print(f"\nerror: {what}\nall processes end", file=sys.stderr, flush=True)
            self._store.set("heard", "1")
        elif not said:
            self._await_speaker(what)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_CODE)

    def _await_speaker(self, what: str) -> None:
        """Stay until somebody has printed it: the first to leave makes torchrun end the others."""
        deadline = time.monotonic() + HEARD_SECONDS
        while time.monotonic() < deadline:
            if self._store.check(["heard"]):
                return
            time.sleep(0.1)
        print(f"\nerror: {what}", file=sys.stderr, flush=True)


_current: ProcessWatch | None = None


def begin_watch(name: str, rank: int, world_size: int) -> None:
    """Watch over the processes that ``torchrun`` started, which share ``name``."""
    global _current
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # a connection of its own: the main thread may wait in the other one
    store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=CONNECT_SECONDS))
    _current = ProcessWatch(PrefixStore(f"{name}/watch", store), rank, world_size, (address, port))
    _current.start()
    atexit.register(end_watch)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_soon)


def _end_soon(number: int, frame: FrameType | None) -> None:
    """End this process on SIGTERM, but not before it was found out whether ``torchrun`` ends all because one died."""
    watch = _current
    if watch is not None:
        watch.hurry()
    timer = threading.Timer(BROKEN_SECONDS + 2, os._exit, (128 + number,))
    timer.daemon = True
    timer.start()


def end_watch() -> None:
    """Stop watching."""
    global _current
    if _current is not None:
        if signal.getsignal(signal.SIGTERM) is _end_soon:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _current.stop()
        _current = None


def current_watch() -> ProcessWatch | None:
    """The watch over this process, if ``torchrun`` started it among several."""
    return _current


@contextmanager
def waiting() -> Iterator[None]:
    """While it is open this process waits for others."""
    if _current is None:
        yield
        return
    with _current.waiting():
        yield


def is_of_others(error: BaseException) -> bool:
    """Whether ``error`` is what torch raises because another process went away."""
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS_OF_OTHERS)


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
