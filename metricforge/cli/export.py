"""``metricforge export``: a model as a folder that others can load."""

from __future__ import annotations

import argparse

from rich.console import Console

from metricforge.bundle_files import CARD, WEIGHTS, check_is_new
from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.deployment import load_model
from metricforge.deployment.graphs.export_model import export_model


def export(arguments: argparse.Namespace) -> None:
    """Export what the command line says, and say how near the graph comes to the model."""
    console = open_console()
    check_is_new(arguments.out)
    model = load_model(arguments.model, device="cpu")
    _say(console, f"model    {model}")
    done = export_model(
        model,
        arguments.out,
        format=arguments.format,
        with_preprocessing=arguments.with_preprocessing,
        images=arguments.images,
        licence=arguments.licence,
    )
    _say(console, f"bundle   {done.bundle}")
    _say(console, f"         {WEIGHTS}, model.json, {CARD} (the model card: read it before you hand it on)")
    for name, graph in done.graphs.items():
        _say(console, f"         {name}")
        compared = graph.get("compared")
        if compared and "batches" not in compared:
            _say(console, f"         largest difference of a similarity: {compared['largest_difference']:.2g}")
        elif compared:
            batches = ", ".join(
                f"{value:.2g} at {size}" for size, value in compared["largest_difference_by_batch"].items()
            )
            _say(console, f"compared {compared['images']} images of {done.source}")
            _say(console, f"         largest difference of a number, by batch: {batches}")
            if compared.get("recall_at_1") is not None:
                of_graph, of_model = compared["recall_at_1"], compared["recall_at_1_of_model"]
                _say(console, f"         Recall@1 {of_graph:.4f}, of the model {of_model:.4f}")
            else:
                _say(console, "         no labels, so no Recall@1")
    if model.learner.backbone.takes_images:
        _say(console, f"use it:  {next_command('embed', done.bundle, 'PHOTOS', '--out', 'FOLDER')}")
    else:
        _say(console, f"use it:  metricforge.load_model({str(done.bundle)!r}).embed(vectors), in Python")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
