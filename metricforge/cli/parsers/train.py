"""The arguments of ``metricforge train``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.run_arguments import add_config, add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_run_arguments(parser, "the run's folder (default: runs/NAME, numbered if that exists)")
    parser.add_argument(
        "--resume",
        nargs="?",
        type=_auto,
        const=True,
        default=False,
        metavar="auto",
        help="continue from the newest checkpoint in the run's folder; --resume auto: if there is one, otherwise "
        "begin, so that the same command starts a run and takes it up",
    )
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="resume with another config than before: the changes take effect and are noted in the run's history",
    )
    parser.add_argument(
        "--replay",
        metavar="FILE",
        help="train again, in a folder of its own, from the checkpoint before the batch of FILE (not_finite_*.pt of a "
        "run) up to it, and say what is not finite first",
    )


def _auto(text: str) -> str:
    if text != "auto":
        raise argparse.ArgumentTypeError(f"takes auto or nothing, not {text!r}; put CONFIG before it")
    return text
