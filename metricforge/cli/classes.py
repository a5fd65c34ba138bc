"""``metricforge classes RUN``: which classes a run finds worst, and which it takes for each other."""

from __future__ import annotations

import argparse

from metricforge.cli.console import open_console
from metricforge.comparison import read_run
from metricforge.errors import ComparisonError
from metricforge.evaluation import query_scores_path
from metricforge.report.class_file import write_class_csv, write_class_json
from metricforge.report.class_table import print_confused_classes, print_worst_classes
from metricforge.spelling import nearest


def classes(arguments: argparse.Namespace) -> None:
    """Print the worst classes and the most confused pairs, and write all of them if asked."""
    console = open_console()
    run = arguments.evaluated
    read = read_run(run)
    queries = read.queries
    if queries is None:
        raise ComparisonError(
            f"{run}: has no {query_scores_path(read.path).name}, so nothing is known about single classes; "
            "evaluate again with `metricforge test CONFIG CHECKPOINT` and name the folder that it prints, or "
            "`metricforge evaluate FILE --json FILE` with a "
            "score that is a mean over queries, such as recall@1"
        )
    score = arguments.score or next(name for name in read.scores if name in queries.values)
    if score not in queries.values:
        raise ComparisonError(
            f'--score: {run} has no score "{score}" of single classes{nearest(score, list(queries.values))}'
        )
    print_worst_classes(console, queries, score, arguments.worst)
    ranking = score.rpartition("/")[0]
    if ranking in queries.nearest:
        print_confused_classes(console, queries, ranking, arguments.pairs)
    else:
        console.print(
            f"which classes are confused is unknown: the evaluation did not record nearest images by the ranking of "
            f"{score} (it is a learned one, or training continued); `metricforge test CONFIG CHECKPOINT` records them "
            "for any other ranking and prints the folder to name here",
            highlight=False,
            soft_wrap=True,
        )
    for path, write in ((arguments.csv, write_class_csv), (arguments.json, write_class_json)):
        if path is not None:
            write(path, queries)
            console.print(f"written to {path}", highlight=False, markup=False, soft_wrap=True)
