"""The arguments of ``metricforge export``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import named_path, not_empty

# what metricforge.deployment.graphs.export_model.FORMATS says; that module is slow to import
FORMATS = ("safetensors", "onnx", "torchscript", "torch-export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("model", metavar="MODEL", type=named_path, help="a run's folder, a checkpoint or a bundle")
    parser.add_argument("--out", required=True, type=named_path, metavar="BUNDLE", help="new folder for the bundle")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="safetensors",
        help="safetensors: weights only; the others add the model as a graph, which is compared with the model on "
        "real images first (default: %(default)s)",
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="resize, crop and normalise inside the ONNX graph, which then takes uint8 images of any size",
    )
    parser.add_argument(
        "--images",
        metavar="SOURCE",
        help="folder or table of images to compare the graph on (default: the test images of the model's run)",
    )
    parser.add_argument(
        "--license",
        dest="licence",
        type=not_empty,
        metavar="ID",
        help="licence of the weights, for the model card, such as apache-2.0",
    )
