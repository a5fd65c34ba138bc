"""What the subcommands' arguments have in common, and how an error leaves the command."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from mmengine.config import DictAction
from rich.console import Console

from metricforge.engine.distributed.processes import leave_processes
from metricforge.errors import ConfigError, MainProcessError, MetricForgeError, NonFiniteLossError

GRACE_SECONDS = 30


class Overrides(DictAction):
    """``key=value`` pairs of dotted config keys; values may be numbers, lists ``[1,2]`` or tuples ``(0.3,1)``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        for value in values:
            if "=" not in value:
                parser.error(f"{option_string} {value}: must be KEY=VALUE, such as train_cfg.max_epochs=3")
        super().__call__(parser, namespace, values, option_string)


def at_least_1(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number >= 1")
    return int(text)


def score_names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that training and evaluation share."""
    parser.add_argument("config", help="a config file, such as configs/normsoftmax_glyphs.py")
    parser.add_argument("--work-dir", metavar="FOLDER", help="the run's folder")
    parser.add_argument("--seed", type=int, help="replaces the config's seed")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Overrides,
        metavar="KEY=VALUE",
        help="replace values of the config: model.loss.temperature=0.1 train_cfg.max_epochs=3",
    )


def run_command(command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Runs ``command``; a mistake of the caller's is printed in plain words, without a traceback, and exits with 1.

    Of several processes, the others leave it to process 0 to say what all of them find out.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    if not is_main:
        warnings.filterwarnings("ignore", category=UserWarning, module="metricforge")
    try:
        command(arguments)
        leave_processes()
    except MetricForgeError as error:
        if not is_main and isinstance(error, (ConfigError, MainProcessError, NonFiniteLossError)):
            time.sleep(GRACE_SECONDS)  # the first to leave makes torchrun end the others, process 0 in mid-sentence
        Console(stderr=True).print("[bold red]error:[/] ", end="")
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the run's checkpoints are kept, --resume goes on from the newest", file=sys.stderr)
        sys.exit(130)
