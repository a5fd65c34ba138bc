from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.functional import all_pairs, check_at_least, check_batch, check_count, check_tuples
from metricforge.structures import Pairs, Triplets

LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(2), LABELS, r"\(B, D\).*\(2,\)"),
        (torch.zeros(2, 3, dtype=torch.int64), LABELS, r"float tensor.*int64"),
        (torch.zeros(3, 3), LABELS, r"shape \(3,\).*\(2,\)"),
        (torch.zeros(2, 3), LABELS.int(), r"int32.*labels\.long\(\)"),
        (torch.zeros(2, 3), LABELS[:, None], r"\(2, 1\)"),
        (torch.zeros(2, 3), LABELS.to("meta"), "labels are on meta, embeddings on cpu"),
    ],
)
def test_a_wrong_batch_is_named_with_what_is_allowed(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        check_batch(embeddings, labels)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_batches_of_any_size_and_float_type_pass(count, dtype):
    check_batch(torch.zeros(count, 3, dtype=dtype), torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "1", None])
def test_a_number_that_is_not_allowed_is_named(value):
    with pytest.raises(ValueError, match=r"margin must be a number >= 0, got " + repr(value)):
        check_at_least("margin", value, 0)


def test_an_open_end_excludes_the_lowest_value_itself():
    check_at_least("margin", 0, 0)
    with pytest.raises(ValueError, match="margin must be a number > 0, got 0"):
        check_at_least("margin", 0, 0, open_end=True)


@pytest.mark.parametrize("value", [0, -1, 2.0, 2.5, float("nan"), True, "2", None])
def test_a_count_that_is_not_whole_or_too_small_is_named(value):
    with pytest.raises(ValueError, match=f"dim must be a whole number >= 1, got {value!r}"):
        check_count("dim", value)


def test_numpys_integers_are_counts():
    check_count("dim", np.int64(1))
    check_count("num_classes", 2, 2)
    with pytest.raises(ValueError, match="num_classes must be a whole number >= 2, got 1"):
        check_count("num_classes", 1, 2)


def test_tuples_of_a_type_that_is_not_accepted_are_named():
    check_tuples(None, (Triplets,))
    check_tuples(all_pairs(LABELS), (Triplets, Pairs))
    with pytest.raises(TypeError, match="accepts Triplets, got Pairs"):
        check_tuples(all_pairs(LABELS), (Triplets,))
    with pytest.raises(TypeError, match="accepts no tuples, got Pairs"):
        check_tuples(all_pairs(LABELS), ())
