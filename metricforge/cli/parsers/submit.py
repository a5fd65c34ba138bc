"""The arguments of ``metricforge submit``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.run_arguments import add_config, add_run_arguments
from metricforge.cli.parsers.values import at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_run_arguments(
        parser, "the run's folder, which all nodes must see (required); the job's output goes to its subfolder slurm"
    )
    parser.add_argument("--nodes", type=at_least_1, default=1, metavar="N", help="number of machines (default: 1)")
    parser.add_argument(
        "--tasks-per-node",
        type=at_least_1,
        default=1,
        metavar="N",
        help="processes per machine, one per GPU (default: 1)",
    )
    parser.add_argument(
        "--minutes",
        type=at_least_1,
        default=1440,
        metavar="M",
        help="time limit of a job; training is saved and the job requeued shortly before it (default: 1440)",
    )
    parser.add_argument("--cpus-per-task", type=at_least_1, metavar="N", help="CPU cores per process (default: 4)")
    parser.add_argument("--partition", metavar="NAME", help="Slurm's partition")
    parser.add_argument(
        "--cluster",
        choices=("slurm", "local"),
        default="slurm",
        help="slurm, or local to try it out on this machine (default: slurm)",
    )
