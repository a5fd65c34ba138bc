"""Ctrl-C in a training: the process ends within two seconds, and says what is saved and how to go on."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from metricforge.cli.next_command import next_command
from metricforge.cli.signal_watch import told_of_signals
from metricforge.cli.stopped import status_after
from metricforge.overrides import format_override

PATIENCE_SECONDS = 1.5


@contextmanager
def ends_soon(say: Callable[[], None]) -> Iterator[None]:
    """End the process soon after Ctrl-C, also where a library computes on and Python cannot raise KeyboardInterrupt.

    Files are written whole or not at all, so nothing is lost by that.

    Args:
        say: called at most once, before the process ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    once = threading.Lock()

    def say_once() -> None:
        if once.acquire(blocking=False):
            say()

    def end_soon(number: int) -> None:
        if number != signal.SIGINT:
            return
        threading.Event().wait(PATIENCE_SECONDS)
        say_once()
        sys.stdout.flush()
        sys.stderr.flush()
        for worker in multiprocessing.active_children():
            worker.kill()  # they read images only
        os._exit(128 + signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # one is enough, and what follows tidies up
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with told_of_signals(end_soon):
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        except KeyboardInterrupt as end:
            say_once()
            # and if that takes long, because of workers for instance, the thread ends it
            sys.exit(status_after(end))
        finally:
            if signal.getsignal(signal.SIGINT) is interrupt:
                signal.signal(signal.SIGINT, before)


def resume_command(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that takes up the training of ``folder``, which was begun with ``arguments``, on as many machines."""
    words: list[object] = [arguments.config, "--work-dir", folder, "--resume", "auto"]
    for name in ("seed", "device"):
        if getattr(arguments, name) is not None:
            words += [f"--{name}", getattr(arguments, name)]
    if arguments.cfg_options:
        words += ["--cfg-options", *(format_override(key, value) for key, value in arguments.cfg_options.items())]
    command = next_command("train", *words)
    here, machines = (os.environ.get(name, "1") for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"))
    if (here, machines) == ("1", "1"):
        return command
    launch = f"torchrun --nproc-per-node {here}"
    if machines != "1":
        place = f"{os.environ.get('MASTER_ADDR', 'HOST')}:29400"
        launch += f" --nnodes {machines} --rdzv-backend c10d --rdzv-endpoint {place}"
    return f"{launch} -m metricforge {command.partition('metricforge ')[2]}"
