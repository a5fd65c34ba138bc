"""The ``metricforge`` command."""

from __future__ import annotations

import argparse

from metricforge import __version__
from metricforge.cli import classes, compare, data, evaluate, plot, plugins, reproduce, test, train
from metricforge.cli.arguments import run_command


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and runs the subcommand."""
    parser = argparse.ArgumentParser(prog="metricforge", description="Train, measure and serve embeddings.")
    parser.add_argument("--version", action="version", version=f"metricforge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    training = commands.add_parser("train", help="train an embedding and evaluate it")
    train.add_arguments(training)
    training.set_defaults(run=train.train)

    testing = commands.add_parser("test", help="evaluate a checkpoint")
    test.add_arguments(testing)
    testing.set_defaults(run=test.test)

    scoring = commands.add_parser("evaluate", help="score embeddings that any tool made")
    evaluate.add_arguments(scoring)
    scoring.set_defaults(run=evaluate.evaluate)

    comparing = commands.add_parser("compare", help="scores of runs side by side, with confidence intervals")
    compare.add_arguments(comparing)
    comparing.set_defaults(run=compare.compare)

    by_class = commands.add_parser("classes", help="the worst classes of a run, and those it takes for each other")
    classes.add_arguments(by_class)
    by_class.set_defaults(run=classes.classes)

    plotting = commands.add_parser("plot", help="draw score distributions or convergence curves")
    plot.add_arguments(plotting)
    plotting.set_defaults(run=plot.plot)

    data.add_arguments(commands.add_parser("data", help="get the published data sets, and look through any"))

    reproduction = commands.add_parser("reproduce", help="run a paper's table and compare")
    reproduce.add_arguments(reproduction)
    reproduction.set_defaults(run=reproduce.reproduce)

    listing = commands.add_parser("plugins", help="list the installed plug-ins")
    plugins.add_arguments(listing)
    listing.set_defaults(run=plugins.plugins)

    arguments = parser.parse_args(argv)
    run_command(arguments.run, arguments)
