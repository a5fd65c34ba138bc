"""The arguments of ``metricforge submit``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.run_arguments import add_config, add_run_arguments
from metricforge.cli.parsers.values import at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_run_arguments(parser, "the run's folder, which all nodes reach; the job's output goes into its slurm/")
    parser.add_argument("--nodes", type=at_least_1, default=1, metavar="N", help="machines (default: 1)")
    parser.add_argument(
        "--tasks-per-node", type=at_least_1, default=1, metavar="N", help="processes on each, one a GPU (default: 1)"
    )
    parser.add_argument("--minutes", type=at_least_1, default=1440, metavar="M", help="time limit (default: 1440)")
    parser.add_argument("--cpus-per-task", type=at_least_1, metavar="N", help="cores of each (default: 4)")
    parser.add_argument("--partition", metavar="NAME", help="Slurm's partition")
    parser.add_argument(
        "--cluster",
        choices=("slurm", "local"),
        default="slurm",
        help="local: on this machine, to try it out (default: slurm)",
    )
