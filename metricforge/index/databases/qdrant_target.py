"""Qdrant in its local mode: a folder that ``QdrantClient(path=...)`` opens, and that ``migrate`` takes to a server."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from qdrant_client import QdrantClient, models

from metricforge.index.databases.index_rows import IndexRows
from metricforge.index.hit import plain_value

DISTANCES = {"cosine": models.Distance.COSINE, "l2": models.Distance.EUCLID, "ip": models.Distance.DOT}


def write(rows: IndexRows, folder: Path, name: str, on_images: Callable[[int], object]) -> str:
    """Write ``rows`` as the collection ``name`` of a new Qdrant in ``folder``; returns how to search it.

    Columns become the payload; what JSON has no type for, such as a date, becomes text.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Local mode is not recommended")  # the docs say what it is for
        client = QdrantClient(path=str(folder))
        try:
            client.create_collection(
                name,
                vectors_config=models.VectorParams(size=rows.dim, distance=DISTANCES[rows.distance]),
                metadata=rows.about,
            )
            for table, vectors in rows.blocks():
                points = [
                    models.PointStruct(
                        id=values.pop("id"),
                        vector=vector,
                        payload={key: plain_value(value) for key, value in values.items()},
                    )
                    for values, vector in zip(table.to_pylist(), vectors.tolist(), strict=True)
                ]
                client.upsert(name, points)
                on_images(len(points))
        finally:
            client.close()
    return f'QdrantClient(path=...).query_points("{name}", query=vector, limit=10)'
