from __future__ import annotations

import torch

from metricforge.evaluation.search import duplicate_rows
from metricforge.evaluation.search.duplicate_rows import first_duplicates


def _by_comparing_all(rows: torch.Tensor) -> list[int]:
    return [next(place for place, other in enumerate(rows) if (other == row).all()) for row in rows]


def test_each_row_leads_to_the_first_that_equals_it(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-1, 2, (200, 4), generator=generator).float()
    rows[3], rows[150] = 0.0, -0.0
    monkeypatch.setattr(duplicate_rows, "NUMBERS_AT_ONCE", 20)
    assert first_duplicates(rows).tolist() == _by_comparing_all(rows)


def test_rows_without_a_duplicate_lead_to_themselves():
    rows = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    assert first_duplicates(rows).tolist() == list(range(100))


def test_different_rows_of_one_hash_are_told_apart(monkeypatch):
    rows = torch.randint(0, 3, (60, 3), generator=torch.Generator().manual_seed(0)).float()
    monkeypatch.setattr(torch, "randint", lambda *arguments, **options: torch.zeros(3, dtype=torch.int64))
    assert first_duplicates(rows).tolist() == _by_comparing_all(rows)
