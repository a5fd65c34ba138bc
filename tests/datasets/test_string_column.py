from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricforge.datasets import string_column as module
from metricforge.datasets.string_column import StringColumn


def repeated(column):
    return {row["values"]: row["counts"] for row in column.repeated().to_pylist()}


@given(st.lists(st.text("aé\0/", max_size=20), max_size=40))
def test_what_stands_more_than_once_is_what_counting_finds(strings):
    assert repeated(StringColumn(strings)) == {s: n for s, n in Counter(strings).items() if n > 1}


def test_repeats_are_found_across_blocks_among_long_and_short_strings(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 64)
    strings = [f"folder/{number % 97}/" + "x" * (number % 41) for number in range(300)]
    expected = {s: n for s, n in Counter(strings).items() if n > 1}
    assert repeated(StringColumn(strings)) == expected
    strings += ["y" * 200, "z", "y" * 200]
    assert repeated(StringColumn(strings)) == expected | {"y" * 200: 2}


def test_a_part_of_an_array_repeats_only_what_is_in_it():
    whole = pa.array(["a", "b", "a", "c", "c", "b"], type=pa.large_string())
    assert repeated(StringColumn(whole[1:5])) == {"c": 2}
    assert repeated(StringColumn(whole)) == {"a": 2, "b": 2, "c": 2}


def test_strings_of_one_hash_are_still_told_apart(monkeypatch):
    monkeypatch.setattr(StringColumn, "_hashes", lambda self: np.zeros(len(self), dtype=np.uint64))
    assert repeated(StringColumn(["a", "b", "c", "b"])) == {"b": 2}


def test_hashes_of_a_million_like_names_are_all_unlike():
    column = StringColumn([f"images/{number:07}.jpg" for number in range(1_000_000)])
    assert len(np.unique(column._hashes())) == 1_000_000


@pytest.mark.parametrize("other", [["ab", "c", ""], ["a", "", "bc"], ["a", "bc"], []])
def test_unlike_columns_have_unlike_digests(other):
    def digest(strings):
        made = hashlib.sha256()
        StringColumn(strings).add_to(made)
        return made.hexdigest()

    assert digest(["a", "bc", ""]) == digest(pa.array(["x", "a", "bc", ""], type=pa.large_string())[1:])
    assert digest(["a", "bc", ""]) != digest(other)
