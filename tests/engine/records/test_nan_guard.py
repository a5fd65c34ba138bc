import pytest
import torch

from metricforge.engine.records.nan_guard import refuse_non_finite
from metricforge.errors import NonFiniteLossError


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_batch(loss):
    with pytest.raises(NonFiniteLossError, match=r"epoch 3, iteration 6 .*the batch of 2 samples with ids 4, 8\. .*lr"):
        refuse_non_finite(2, 5, torch.tensor([4, 8]), {"loss": loss, "loss/e_m": 1.0})


def test_a_part_that_is_not_finite_is_no_reason_to_stop():
    refuse_non_finite(0, 0, torch.tensor([1]), {"loss": 0.5, "loss/active": float("nan")})
