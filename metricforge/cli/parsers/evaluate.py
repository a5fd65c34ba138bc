"""The arguments of ``metricforge evaluate``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import at_least_1, file_to_write, named_path, score_names

# what metricforge.measurement.DEFAULT_SCORES says; that module is slow to import
DEFAULT_SCORES = "recall@1,map@r,r_precision,nmi"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "embeddings",
        metavar="FILE",
        type=named_path,
        help=".npz or .parquet with embeddings (N, D), labels and optional ids; or a folder written by metricforge "
        "embed",
    )
    parser.add_argument(
        "--gallery", metavar="FILE", type=named_path, help="search these embeddings (default: the other rows of FILE)"
    )
    parser.add_argument(
        "--scores",
        type=score_names,
        metavar="NAMES",
        default=DEFAULT_SCORES,
        help="names separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--similarity",
        choices=["cosine", "euclidean", "hamming"],
        default="cosine",
        help="how embeddings are compared (default: %(default)s)",
    )
    parser.add_argument(
        "--space",
        metavar="NAMES",
        default="",
        help="also score in smaller spaces: first:N (the first N dimensions), pca:N (PCA fitted on the gallery), "
        'int8, or several steps joined by "+"; separated by commas, such as pca:64,pca:64+int8',
    )
    parser.add_argument(
        "--fit-space",
        metavar="FILE",
        type=named_path,
        help="fit these spaces on other embeddings, such as those of the training set",
    )
    parser.add_argument(
        "--clustering",
        choices=["k-means", "affinity"],
        default="k-means",
        help="clustering for nmi, ami and f1: k-means (default), or affinity propagation with its preference bisected "
        "until there are as many clusters as classes",
    )
    parser.add_argument(
        "--affinity-neighbours",
        type=at_least_1,
        metavar="N",
        help="run affinity propagation on the N nearest neighbours of each image, such as 100; all pairs are slow for "
        "more than 3,000 images",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the clustering (default: 0)")
    parser.add_argument(
        "--exclude",
        metavar="RULE",
        help='"same label and same camera": treat such images as neither match nor non-match; needs cameras (N,)',
    )
    parser.add_argument(
        "--tree",
        metavar="FILE",
        help="class tree for zero_shot@K: a .csv with the columns child and parent, or wordnet if it is installed",
    )
    parser.add_argument(
        "--device", metavar="NAME", default="cpu", help="device for the search: cpu (default), cuda, ..."
    )
    parser.add_argument(
        "--classes", type=at_least_1, metavar="N", help="also print the N worst classes and the N most confused pairs"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=file_to_write,
        help="write the scores and the protocol to FILE, and per-query results beside it",
    )
