"""LanceDB: a folder with a table whose columns keep their types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import lancedb
import pyarrow as pa

from metricforge.errors import EmbeddingsError
from metricforge.index.databases.index_rows import VECTOR, IndexRows

DISTANCES = {"cosine": "cosine", "l2": "l2", "ip": "dot"}
KEY = "metricforge"


def write(rows: IndexRows, folder: Path, name: str, on_images: Callable[[int], object]) -> str:
    """Write ``rows`` as the table ``name`` of a new LanceDB in ``folder``; returns how to search it.

    Raises:
        EmbeddingsError: for a column of a type that LanceDB does not have, which it names.
    """
    _check_types(rows.schema)
    vector = pa.field(VECTOR, pa.list_(pa.float32(), rows.dim))
    schema = rows.schema.append(vector).with_metadata({KEY: json.dumps(rows.about)})

    def batches() -> Iterator[pa.RecordBatch]:
        for table, vectors in rows.blocks():
            lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), rows.dim)
            whole = table.append_column(vector, lists).combine_chunks()
            yield from whole.replace_schema_metadata(schema.metadata).to_batches()
            on_images(len(table))

    lancedb.connect(str(folder)).create_table(name, data=batches(), schema=schema)
    return f'lancedb.connect(...).open_table("{name}").search(vector).distance_type("{DISTANCES[rows.distance]}")'


def _check_types(schema: pa.Schema) -> None:
    memory = lancedb.connect("memory://")
    for number, field in enumerate(schema):
        try:
            memory.create_table(f"column_{number}", schema=pa.schema([field]))
        except Exception as fault:  # LanceDB's errors have no common base that is public
            raise EmbeddingsError(
                f"LanceDB has no type for column {field.name} ({field.type}); convert it in the table that the index "
                "was built from, such as to a list or to text, or export to another database"
            ) from fault
