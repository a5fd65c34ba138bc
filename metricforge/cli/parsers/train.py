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
        help="continue from the newest checkpoint in the run's folder; --resume auto: continue if there is one, "
        "otherwise start, so that the same command does both",
    )
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="resume with a changed config: the changes take effect and are recorded in the run's history",
    )
    parser.add_argument(
        "--replay",
        metavar="FILE",
        help="repeat the update that failed with NaN or infinity: train, in a separate folder, from the last "
        "checkpoint up to the batch saved in FILE (not_finite_*.pt of a run), and report what became non-finite first",
    )


def _auto(text: str) -> str:
    if text != "auto":
        raise argparse.ArgumentTypeError(f"takes auto or nothing, not {text!r}; put CONFIG before it")
    return text
