"""``metricforge evaluate FILE``: scores of embeddings that any tool made."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from rich.console import Console

from metricforge.evaluation import EvaluationContext, write_scores
from metricforge.evaluation.space import Space
from metricforge.measurement import DEFAULT_SCORES, evaluate_embeddings, read_embedding_file
from metricforge.report import print_scores

SHOWN_CLASSES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument(
        "embeddings", metavar="FILE", type=Path, help=".npz or .parquet with embeddings (N, D), labels and maybe ids"
    )
    parser.add_argument(
        "--gallery", metavar="FILE", type=Path, help="what is searched; without it, the same file's other rows"
    )
    parser.add_argument(
        "--scores",
        metavar="NAMES",
        default=",".join(DEFAULT_SCORES),
        help="names with commas between them (default: %(default)s); docs/evaluation.md defines all",
    )
    parser.add_argument("--similarity", choices=["cosine", "euclidean", "hamming"], default="cosine")
    parser.add_argument(
        "--space",
        metavar="NAMES",
        default="",
        help="score in smaller spaces too: first:N (the first N dimensions), pca:N (fitted on what is searched), int8, "
        'or steps joined by "+"; commas between them, such as pca:64,pca:64+int8',
    )
    parser.add_argument("--seed", type=int, default=0, help="of k-means, for nmi, ami and f1 (default: 0)")
    parser.add_argument("--device", default="cpu", help="where neighbours are searched: cpu (default), cuda, ...")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write scores and protocol there")


def evaluate(arguments: argparse.Namespace) -> None:
    """Prints the scores and what was left out, and writes them if asked."""
    console = Console()
    spaces = [name.strip() for name in arguments.space.split(",") if name.strip()]
    with console.status("reading, searching and scoring"):
        queries = read_embedding_file(arguments.embeddings)
        gallery = None if arguments.gallery is None else read_embedding_file(arguments.gallery)
        measured = evaluate_embeddings(
            queries,
            gallery,
            [name.strip() for name in arguments.scores.split(",") if name.strip()],
            arguments.similarity,
            arguments.seed,
            arguments.device,
            spaces,
        )
    context = measured.context
    size = f"{len(context.queries):,} queries of {context.num_classes:,} classes"
    searched = "in their own set, without themselves" if gallery is None else f"in {len(context.gallery):,} images"
    itself = "" if gallery is None else ", without themselves (by id)" if context.shared_ids else ", which are others"
    console.print(
        f"{size}, {queries.embeddings.shape[1]} dimensions ({context.bytes_per_vector} bytes a vector), searched "
        f"{searched}{itself}, by {arguments.similarity} similarity",
        highlight=False,
        soft_wrap=True,
    )
    if context.queries_without_match:
        console.print(_left_out(context), highlight=False, markup=False, soft_wrap=True)
    rows = {f"{arguments.embeddings.name} ({context.bytes_per_vector} bytes)": _scores_of("", measured.scores)}
    for space in spaces:
        taken = context.in_space(Space(space)).bytes_per_vector
        rows[f"{space} ({taken} bytes)"] = _scores_of(f"{space}/", measured.scores)
    print_scores(console, rows if spaces else {arguments.embeddings.name: measured.scores})
    if arguments.json:
        write_scores(arguments.json, measured.scores, measured.protocol)
        console.print(f"written to {arguments.json}", highlight=False, markup=False, soft_wrap=True)


def _scores_of(space: str, scores: dict[str, float]) -> dict[str, float]:
    """Those of ``scores`` that ``space`` leads, under their plain names."""
    names = [name for name in scores if name.startswith(space) and ("/" not in name or space)]
    return {name.removeprefix(space): scores[name] for name in names}


def _left_out(context: EvaluationContext) -> str:
    lone = Counter(context.queries.labels[context.matches == 0].tolist())
    names = context.queries.class_names
    classes = [str(names[label]) if names else str(label) for label in sorted(lone)]
    listed = ", ".join(classes[:SHOWN_CLASSES]) + (", ..." if len(classes) > SHOWN_CLASSES else "")
    return (
        f"{context.queries_without_match:,} queries have no other image of their class to find and are left out of the "
        f"retrieval scores; {len(classes):,} classes: {listed}"
    )
