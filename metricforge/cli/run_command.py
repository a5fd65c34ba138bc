"""How a command ends: results, or an error in plain words and an exit status."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.cli.stopped import said_of, status_after, stopped_by_signals
from metricforge.disk_errors import CLOSED, FULL, GONE, MISNAMED
from metricforge.errors import (
    ConfigError,
    MainProcessError,
    MetricForgeError,
    NonFiniteLossError,
    ProcessesDifferError,
    is_out_of_memory,
)
from metricforge.named_exits import exits_of_others_named

if TYPE_CHECKING:
    from metricforge.engine.distributed.process_watch import ProcessWatch

GRACE_SECONDS = 30
# what a file or folder that somebody named is, rather than what is wrong with the code
OF_THE_PLACE = FULL | CLOSED | GONE | MISNAMED
PYTHONS_TEXT = warnings.formatwarning
# what torch says of a process that reads data and ended
_LOST_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?:exited|is killed by signal: (?P<signal>.*?)\. )"
)
SAID_BY_ALL = (ConfigError, MainProcessError, NonFiniteLossError, ProcessesDifferError)


def run_command(command: Callable[[], None]) -> None:
    """Run ``command``; print a caller's mistake in plain words, without a traceback, and exit with 1.

    Of several processes, the others leave it to process 0 to say what all of them find out.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    warnings.formatwarning = _warning_text
    if not is_main:
        warnings.filterwarnings("ignore", category=UserWarning, module="metricforge")
    try:
        with stopped_by_signals(), exits_of_others_named(), _lost_workers_named():
            command()
        sys.stdout.flush()  # while what it cannot take is still said in plain words
        processes = sys.modules.get("metricforge.engine.distributed.processes")
        if processes is not None:  # only a command that trains or evaluates imports it, and may have joined others
            processes.leave_processes()
    except MetricForgeError as error:
        watch = _watch()
        if not is_main and isinstance(error, SAID_BY_ALL):
            time.sleep(GRACE_SECONDS)  # the first to leave makes torchrun end the others, process 0 in mid-sentence
        elif not is_main and watch is not None:
            watch.blame(f"failed: {error}")
            watch.await_end()
        _print_error(_said(error))
        if watch is not None:
            watch.blame(f"failed: {error}", said=True)
        sys.exit(1)
    except Exception as error:
        watch = _watch()
        if watch is None:
            if isinstance(error, OSError) and error.errno in FULL and _output_is_full():
                _print_error(f"the output takes no more: {error.strerror}; direct it elsewhere")
                sys.exit(1)
            if isinstance(error, ModuleNotFoundError) and not _has_pytorch():
                _print_error(
                    f"this command needs {error.name}, which is not installed; without PyTorch, an index can be "
                    "searched and served, and embeddings indexed; pip install metricforge installs what is missing"
                )
                sys.exit(1)
            if not (isinstance(error, OSError) and error.errno in OF_THE_PLACE and error.filename):
                raise
            _print_error(f"{error.filename}: {error.strerror}; name another place")
            sys.exit(1)
        _end_all(watch, error)
    except KeyboardInterrupt as end:
        print(said_of(end), file=sys.stderr)
        sys.exit(status_after(end))


@contextmanager
def _lost_workers_named() -> Iterator[None]:
    """Raise MetricForgeError where a process that reads data ended, which torch notices anywhere in the command."""
    try:
        yield
    except RuntimeError as error:
        found = _LOST_WORKER.match(str(error))
        if found is None:
            raise
        told = _LOST_WORKER.match(str(error.__cause__)) or found  # what the system told is behind what torch concludes
        how = f"was killed by the system ({told['signal']})" if told["signal"] else "ended without a word"
        raise MetricForgeError(
            f"a data worker (pid {told['pids']}) {how}: memory or shared memory (/dev/shm) ran out, or a library "
            "crashed; use fewer workers, or none (num_workers=0, --workers 0), which shows where a crash comes from"
        ) from error


def _print_error(text: str) -> None:
    open_console(stderr=True).print(Text("error: ", style="bold red"), end="")
    print(text, file=sys.stderr, flush=True)


def _has_pytorch() -> bool:
    from metricforge.index.stored_models import has_pytorch

    return has_pytorch()


def _output_is_full() -> bool:
    """Whether standard output does not even take the end of a line; what waits for it is dropped then."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _warning_text(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as Python prints it; without the code it comes from if it speaks to whoever runs the command."""
    if category is UserWarning and f"{os.sep}metricforge{os.sep}" in filename:
        return f"warning: {message}\n"
    return PYTHONS_TEXT(message, category, filename, lineno, line)


def _said(error: MetricForgeError) -> str:
    """What ``error`` says, without the traceback that torch puts before what a worker of a data loader raised."""
    text = str(error)
    if not text.startswith("Caught ") or "\nOriginal Traceback " not in text:
        return text
    return text.rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


def _watch() -> ProcessWatch | None:
    """The watch over several processes, if this is one: only a command that trains or evaluates imports it."""
    module = sys.modules.get("metricforge.engine.distributed.process_watch")
    return None if module is None else module.current_watch()


def _end_all(watch: ProcessWatch, error: Exception) -> NoReturn:
    """End all processes, with one message: what this one raised, or which other one made it raise something."""
    from metricforge.engine.distributed.process_watch import is_of_others

    if is_of_others(error):
        watch.await_end()
    elif is_out_of_memory(error):
        watch.blame(
            f"ran out of memory: {str(error).strip() or type(error).__name__}\n"
            "Ways out: train_cfg.chunk (images embedded at once), a smaller batch, more processes"
        )
        watch.await_end()
    traceback.print_exc()
    sys.stderr.flush()
    watch.blame(f"failed: {type(error).__name__}: {error}")
    watch.await_end()
    sys.exit(1)
