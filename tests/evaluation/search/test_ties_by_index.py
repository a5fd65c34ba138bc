from __future__ import annotations

import torch

from metricforge.evaluation.search.ties_by_index import columns_of_keys, keys_without_ties


def test_keys_rank_as_scores_do_and_ties_by_column():
    scores = torch.tensor([[1.0, 3.0, 3.0, -0.0, 0.0, -2.0]])
    keys = keys_without_ties(scores, first_column=10)
    assert len(keys.unique()) == 6
    assert columns_of_keys(keys.sort(descending=True).values).tolist() == [[11, 12, 10, 13, 14, 15]]
