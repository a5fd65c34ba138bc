"""Locks a run's folder: one training at a time, on this machine and on others that share the disk."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from metricforge.atomic_write import write_atomically
from metricforge.errors import RunFolderError

LOCK_FILE, OWNER_FILE = ".run.lock", ".run.lock.json"
# The loader's workers, and with them the lock, outlive a killed training by some seconds.
PATIENCE_SECONDS = 15.0
SIGN_OF_LIFE_SECONDS, GIVEN_UP_SECONDS = 20.0, 120.0

_here: weakref.WeakValueDictionary[Path, RunLock] = weakref.WeakValueDictionary()
_choosing = threading.Lock()


class RunLock:
    """The right to write into ``folder``, from ``acquire`` to ``release``.

    The operating system keeps the lock (``filelock``) and releases it when the process dies. If it does not reach other
    hosts, as on some network disks, the holder's record does: it is touched every 20 seconds, and counts as abandoned
    after two minutes without a touch.

    A runner that was built but does not train gives way to the next one of the same process. ``made_folder`` says
    whether the folder was made for this run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = folder.resolve()
        self.made_folder = False
        self._in_use = False
        self._let_go: weakref.finalize[Any, RunLock] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._let_go is not None and self._let_go.alive

    def acquire(self) -> None:
        """Lock the folder, which must exist; do nothing if it is already held.

        Raises:
            RunFolderError: if another training has it; says which.
        """
        with _choosing:
            other = _here.get(self._key)
            if other is self and self.is_held:
                return
            if other is not None and other.is_held:
                if other._in_use:
                    raise RunFolderError(_refusal(self.folder, read_owner(self.folder)))
                other.release()
            self._take()
            _here[self._key] = self

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the folder while training; it is released at the end."""
        self.acquire()
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False
            self.release()

    def release(self) -> None:
        """Release the folder."""
        if self._let_go is not None:
            self._let_go()

    def _take(self) -> None:
        lock = FileLock(self.folder / LOCK_FILE, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = read_owner(self.folder)
            try:
                lock.acquire(timeout=PATIENCE_SECONDS if _has_died(owner) else 0)
            except Timeout:
                raise RunFolderError(_refusal(self.folder, read_owner(self.folder))) from None
        record = self.folder / OWNER_FILE
        owner = read_owner(self.folder)
        age = _age(record)
        if owner.get("host", socket.gethostname()) != socket.gethostname() and age < GIVEN_UP_SECONDS:
            lock.release()
            raise RunFolderError(
                f"{_refusal(self.folder, owner)}. Its last sign of life was {max(0, age):.0f} s ago; if it has died, "
                f"the folder becomes free {GIVEN_UP_SECONDS:.0f} s after that"
            )
        write_atomically(record, json.dumps(_this_process()), durable=False)
        ended = threading.Event()
        threading.Thread(target=_show_life, args=(record, ended), daemon=True, name="run-lock").start()
        self._let_go = weakref.finalize(self, _let_go, lock, record, ended, os.getpid())


def read_owner(folder: Path) -> dict[str, Any]:
    """Read the record of the training that holds ``folder``: host, pid, since and command; empty without one."""
    with suppress(OSError, ValueError):
        owner = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
        if isinstance(owner, dict):
            return owner
    return {}


def holder(folder: Path) -> Literal["alive", "gone", "none"]:
    """Whether the training that took ``folder`` last still has it, has ended without giving it back, or did so."""
    if not (folder / OWNER_FILE).is_file():
        return "none"
    owner = read_owner(folder)
    if _has_died(owner):
        return "gone"
    if owner.get("host") == socket.gethostname() and os.name == "posix":
        return "alive"
    with suppress(OSError):
        return "alive" if time.time() - (folder / OWNER_FILE).stat().st_mtime < GIVEN_UP_SECONDS else "gone"
    return "none"


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        "command": shlex.join(sys.argv),
    }


def _refusal(folder: Path, owner: dict[str, Any]) -> str:
    who = "another process"
    if owner:
        who = f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')} ({owner.get('command')})"
    return f"{folder}: is in use by {who}; wait for it or end it, or name another --work-dir"


def _has_died(owner: dict[str, Any]) -> bool:
    """Whether the holder is known to have ended: a process of this host that no longer exists, or has no record."""
    pid = owner.get("pid")
    if not owner or not isinstance(pid, int) or pid <= 0:
        return True
    if owner.get("host") != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _age(record: Path) -> float:
    """Seconds since ``record`` was touched, by the clock of the disk it is on."""
    probe = record.with_name(f"{record.name}.{os.getpid()}")
    try:
        touched = record.stat().st_mtime
        probe.touch()
        return probe.stat().st_mtime - touched
    except FileNotFoundError:
        return float("inf")
    finally:
        probe.unlink(missing_ok=True)


def _show_life(record: Path, ended: threading.Event) -> None:
    while not ended.wait(SIGN_OF_LIFE_SECONDS):
        with suppress(OSError):
            os.utime(record)


def _let_go(lock: FileLock, record: Path, ended: threading.Event, pid: int) -> None:
    if os.getpid() != pid:  # a forked process has a copy; it owns no lock, and the event's may be held for ever there
        return
    ended.set()
    if read_owner(record.parent).get("pid") == pid:
        record.unlink(missing_ok=True)
    with suppress(OSError):  # the folder may be gone
        lock.release()
