"""The worst classes and the most confused pairs of classes of an evaluation, in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.evaluation import QueryScores, class_scores, confused_classes


def print_worst_classes(console: Console, queries: QueryScores, score: str, count: int) -> None:
    """Print the ``count`` classes with the lowest ``score``, in per cent, and the class that each is confused with.

    This is the class of most of its nearest non-matches, by the ranking that gave the score.
    """
    scores = class_scores(queries)
    order = scores.worst(score)
    ranking = score.rpartition("/")[0]
    taken_for: dict[int, tuple[int, int]] = {}
    for pair in confused_classes(queries, ranking) if ranking in queries.nearest else ():
        for one, other, times in (
            (pair.first, pair.second, pair.first_as_second),
            (pair.second, pair.first, pair.second_as_first),
        ):
            if times > taken_for.get(one, (0, 0))[0]:
                taken_for[one] = times, other
    table = Table("class", header_style="dim")
    table.add_column("queries", justify="right")
    table.add_column(Text(score), justify="right")
    if taken_for:
        table.add_column("most often taken for")
    for place in order[:count]:
        label = int(scores.labels[place])
        cells = [
            Text(queries.class_name(label)),
            Text(f"{scores.counted[score][place]:,}"),
            Text(f"{100 * scores.values[score][place]:.1f}"),
        ]
        if taken_for:
            times, other = taken_for.get(label, (0, label))
            cells.append(Text(f"{queries.class_name(other)} ({times:,})" if times else ""))
        table.add_row(*cells)
    console.print(Text(f"the worst by {score}", style="bold"))
    console.print(table)


def print_confused_classes(console: Console, queries: QueryScores, ranking: str, count: int) -> None:
    """Print the ``count`` most confused pairs of classes, with the number of queries of each.

    Raises:
        ValueError: for a ranking whose nearest images were not recorded.
    """
    pairs = confused_classes(queries, ranking)
    scores = class_scores(queries)
    sizes = dict(zip(scores.labels.tolist(), scores.queries.tolist(), strict=True))
    table = Table("class A", "class B", header_style="dim")
    table.add_column("A → B", justify="right")
    table.add_column("B → A", justify="right")
    for pair in pairs[:count]:
        table.add_row(
            Text(queries.class_name(pair.first)),
            Text(queries.class_name(pair.second)),
            f"{pair.first_as_second:,} of {sizes[pair.first]:,}",
            f"{pair.second_as_first:,} of {sizes.get(pair.second, 0):,}",
        )
    if pairs:
        console.print(Text("the most confused: queries whose nearest image is of the other class", style="bold"))
        console.print(table)
    else:
        console.print("no query's nearest image is of another class", highlight=False)
