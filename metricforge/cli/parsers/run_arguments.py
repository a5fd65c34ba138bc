"""The arguments that training and evaluation share."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.cfg_options import add_cfg_options


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says which config."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a config file, or the name of an installed config (see metricforge configs)",
    )


def add_run_arguments(parser: argparse.ArgumentParser, work_dir: str = "the run's folder") -> None:
    """Add the options of a run."""
    parser.add_argument("--work-dir", metavar="FOLDER", help=work_dir)
    add_seed(parser)
    add_device(parser)
    add_cfg_options(parser)


def add_seed(parser: argparse.ArgumentParser, of: str = "the config") -> None:
    """Add the option for the seed."""
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed, overriding that of {of}")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option for the device."""
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says which weights."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, such as runs/NAME/best.pth")
