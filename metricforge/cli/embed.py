"""``metricforge embed``: from a collection of images to files of embeddings."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import numpy as np
from rich.console import Console

from metricforge.cli.console import open_console
from metricforge.cli.evaluated_similarity import evaluated_similarity, other_scores
from metricforge.cli.next_command import next_command
from metricforge.cli.parsers.embed import PRECISIONS, workers_of
from metricforge.cli.unreadable_images import unreadable_lines
from metricforge.deployment import load_model
from metricforge.deployment.embed_collection import EmbeddedCollection, embed_collection, first_images, unreadable_path
from metricforge.deployment.embed_on_ray import check_ray_is_installed, embed_on_ray
from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.image_collection import ImageCollection, open_collection
from metricforge.deployment.single_file import write_single_file
from metricforge.engine.distributed.processes import Processes, join_processes
from metricforge.errors import EmbeddingsError, MetricForgeError
from metricforge.functional.fast_bfloat16 import has_fast_bfloat16
from metricforge.progress_bars import progress_bar


def embed(arguments: argparse.Namespace) -> None:
    """Embed the images, and print a summary."""
    if arguments.engine == "ray":
        _check_ray(arguments)
    device = join_processes(arguments.device)
    processes = Processes.current()
    console = open_console() if processes.is_main else open_console(quiet=True)
    collection = open_collection(arguments.source, glob=arguments.glob, lines=sys.stdin)
    model = load_model(arguments.model, device=device)
    _say(console, f"model    {model}")
    _say(console, f"images   {len(collection):,} in {collection.source}")
    for left in collection.left_out:
        _say(console, f"         {left.describe()}")
    computing, precision = _accelerated(model, collection, arguments, console)
    with progress_bar(console, "embedding", len(collection)) as advance:
        alike: dict[str, Any] = dict(
            precision=precision, batch_size=arguments.batch_size, strict=arguments.strict, on_images=advance
        )
        if arguments.engine == "ray":
            found = embed_on_ray(computing, collection, arguments.out, **alike)
        else:
            workers = workers_of(arguments)
            found = embed_collection(
                computing, collection, arguments.out, num_workers=workers, processes=processes, **alike
            )
    if processes.is_main:
        if not found.embedded:
            raise EmbeddingsError(
                f"none of the {len(collection):,} images of {collection.source} can be read; the first: "
                f"{found.unreadable[0][1]}"
            )
        _report(console, arguments, found)
        if collection.labels is not None:
            compared = model.learner.similarity
            similarity = evaluated_similarity(compared)
            words = ("evaluate", arguments.out, *(() if similarity is None else ("--similarity", similarity)))
            _say(console, f"score them: {next_command(*words)}")
            if similarity is None:
                _say(console, other_scores(compared))


def _check_ray(arguments: argparse.Namespace) -> None:
    """Raise MetricForgeError for what does not go with a Ray cluster."""
    if arguments.workers is not None:
        raise MetricForgeError(
            "--workers does not apply to --engine ray, whose processes read their own images; leave one of them out"
        )
    check_ray_is_installed()
    if "WORLD_SIZE" in os.environ:
        raise MetricForgeError("--engine ray starts processes of its own; run it without torchrun, or leave it out")
    if arguments.compile:
        raise MetricForgeError("--compile cannot be sent to the processes of --engine ray; leave one of them out")


def _accelerated(
    model: EmbeddingModel, collection: ImageCollection, arguments: argparse.Namespace, console: Console
) -> tuple[EmbeddingModel, str]:
    """Return the model with the numerics of the options, and the precision of its vectors."""
    precision = PRECISIONS[arguments.precision]
    if precision == "float32" and not arguments.channels_last and not arguments.compile:
        return model, precision
    fast = model.accelerated(
        precision=precision,  # type: ignore[arg-type]
        channels_last=arguments.channels_last,
        compiled=arguments.compile,
    )
    if precision == "bfloat16" and has_fast_bfloat16(model.device) is False:
        _say(
            console, "options  this device does not compute in bfloat16 itself, so that --precision bf16 saves no time"
        )
    first = first_images(collection, model, arguments.batch_size or model.description.batch_size)
    if first:
        difference = np.abs(fast.embed_pixels(first) - model.embed_pixels(first)).max()
        _say(console, f"options  change the values of the first {len(first)} vectors by at most {difference:.2g}")
    return fast, precision


def _report(console: Console, arguments: argparse.Namespace, found: EmbeddedCollection) -> None:
    done = f"{found.taken_up:,} of {found.origin.rows:,} images"
    before = f"; an earlier start had finished {done}" if found.taken_up else ""
    _say(console, f"\n{found.embedded:,} embeddings of {found.origin.dim} dimensions in {arguments.out}{before}")
    for line in unreadable_lines(found.unreadable, "have no embedding", unreadable_path(arguments.out)):
        _say(console, line)
    if arguments.format != "parquet":
        _say(console, f"in one file: {write_single_file(arguments.out, arguments.format)}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
