"""How a command ends: results, or an error in plain words and an exit status."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable

from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.errors import (
    ConfigError,
    MainProcessError,
    MetricForgeError,
    NonFiniteLossError,
    ProcessesDifferError,
)

GRACE_SECONDS = 30
SAID_BY_ALL = (ConfigError, MainProcessError, NonFiniteLossError, ProcessesDifferError)


def run_command(command: Callable[[], None]) -> None:
    """Run ``command``; print a caller's mistake in plain words, without a traceback, and exit with 1.

    Of several processes, the others leave it to process 0 to say what all of them find out.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    if not is_main:
        warnings.filterwarnings("ignore", category=UserWarning, module="metricforge")
    try:
        command()
        processes = sys.modules.get("metricforge.engine.distributed.processes")
        if processes is not None:  # only a command that trains or evaluates imports it, and may have joined others
            processes.leave_processes()
    except MetricForgeError as error:
        if not is_main and isinstance(error, SAID_BY_ALL):
            time.sleep(GRACE_SECONDS)  # the first to leave makes torchrun end the others, process 0 in mid-sentence
        open_console(stderr=True).print(Text("error: ", style="bold red"), end="")
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
