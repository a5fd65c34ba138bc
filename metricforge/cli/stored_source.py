"""A SOURCE that is a folder of embeddings, where a command takes images as well."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.deployment.stored_embeddings import StoredEmbeddings
from metricforge.errors import EmbeddingsError


def stored_source(arguments: argparse.Namespace) -> StoredEmbeddings:
    """Return the embeddings in ``arguments.source``.

    Raises:
        EmbeddingsError: for --glob, --device or --workers, which are of images, or if the folder is incomplete.
    """
    options = (
        ("--glob", arguments.glob, "selects"),
        ("--device", arguments.device, "embeds"),
        ("--workers", arguments.workers, "reads"),
    )
    for option, value, does in options:
        if value is not None:
            raise EmbeddingsError(
                f"{option} {does} images, and {arguments.source} holds embeddings; leave {option} out"
            )
    return StoredEmbeddings(Path(arguments.source))
