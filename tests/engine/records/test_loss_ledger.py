from __future__ import annotations

import pytest
import torch

from metricforge.engine.records.loss_ledger import LossLedger
from metricforge.errors import NonFiniteLossError


def test_a_reading_is_the_mean_since_the_last_one():
    ledger = LossLedger()
    for value in (1.0, 2.0, 6.0):
        ledger.add(0, 0, torch.tensor([0]), {"loss": torch.tensor(value), "loss/part": torch.tensor(2 * value)})
    assert ledger.read() == {"loss": 3.0, "loss/part": 6.0}
    assert ledger.read() == {}


def test_a_check_between_loses_nothing():
    ledger = LossLedger()
    ledger.add(0, 0, torch.tensor([0]), {"loss": torch.tensor(1.0)})
    ledger.check()
    ledger.add(0, 1, torch.tensor([0]), {"loss": torch.tensor(3.0)})
    assert ledger.read() == {"loss": 2.0}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_iteration_that_is_not_finite_is_named_with_its_batch(bad):
    ledger = LossLedger()
    ledger.add(2, 40, torch.tensor([1, 2]), {"loss": torch.tensor(1.0)})
    ledger.add(2, 41, torch.tensor([7, 9]), {"loss": torch.tensor(bad)})
    ledger.add(2, 42, torch.tensor([3, 4]), {"loss": torch.tensor(float("nan"))})
    with pytest.raises(NonFiniteLossError, match=r"epoch 3, iteration 42 .*ids 7, 9"):
        ledger.read()


def test_a_part_may_be_nan_where_the_loss_is_finite():
    ledger = LossLedger()
    ledger.add(0, 0, torch.tensor([0]), {"loss": torch.tensor(1.0), "loss/ratio": torch.tensor(float("nan"))})
    assert ledger.read()["loss"] == 1.0
