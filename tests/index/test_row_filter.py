from __future__ import annotations

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest

from metricforge.errors import FilterError
from metricforge.index.hit import Hit
from metricforge.index.row_filter import matching_rows

TABLE = pa.table(
    {
        "id": [0, 1, 2, 3],
        "größe": [1.5, None, 3.0, 4.0],
        "my col": ["O'Hara", "b", None, "d"],
        "tags": [["é"], [], ["a", "é"], None],
        "day": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4)],
        "ID": [10, 11, 12, 13],
        "price": [1.0, float("nan"), 2e9, None],
        "weight": pa.array(np.array([1, np.nan, 3, 0.5], np.float16)),
        "__row": [7, 8, 9, 7],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("größe < 3.5", [0, 2]),
        ("größe is null", [1]),
        ("not größe > 3", [0, 2]),
        ("\"my col\" = 'O''Hara'", [0]),
        ("\"my col\" != 'b'", [0, 3]),
        ("list_contains(tags, 'é')", [0, 2]),
        ("day >= '2024-01-03'", [2, 3]),
        ("false", []),
        ("price > 1e9", [2]),
        ("price is null", [1, 3]),
        ("weight > 1", [2]),
        ("__row = 7", [0, 3]),
    ],
)
def test_conditions_over_every_type_of_column_find_their_rows(condition, rows):
    assert np.flatnonzero(matching_rows(TABLE, condition)).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("ID = 11", "SQL does not tell the columns id and ID apart; rename one"),
        ("size < 5 and id in (1, 2)", "SQL does not tell the columns id and ID apart"),
        ("größe = '\udcff'", "is not valid UTF-8"),
        ("size < 5", "over the columns id"),
        ("größe < 3; drop table images", "over the columns id"),
        ("price", "is DOUBLE, not a condition that is true or false; write an SQL condition over the columns id"),
        ("COLUMNS('price|weight') > 1", "is BOOLEAN, BOOLEAN, not a condition"),
        ("#11 = 1", "out of range"),
        ("count(*) > 1", "cannot contain aggregates"),
        ("row_number() over () < 3", "cannot contain window functions"),
        ("rowid = 1", '"rowid" not found'),
        ("exists (select 1 from read_csv('/etc/passwd'))", "Permission Error"),
    ],
)
def test_what_no_column_can_answer_is_refused_and_never_guessed(condition, told):
    with pytest.raises(FilterError, match=told):
        matching_rows(TABLE, condition)


def test_a_hit_is_strict_json_whatever_its_columns_hold():
    metadata = {
        "tags": ["é", None],
        "day": datetime.date(2024, 1, 3),
        "price": float("nan"),
        "box": {"x": 1, "at": (2,)},
    }
    found = Hit(id=1, score=0.5, path="a.jpg", metadata=metadata).to_json()
    assert json.loads(json.dumps(found, allow_nan=False))["metadata"] == {
        "tags": ["é", None],
        "day": "2024-01-03",
        "price": None,
        "box": {"x": 1, "at": [2]},
    }
