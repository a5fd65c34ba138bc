import pytest
import torch
from torch import nn

from metricforge.engine.readout.mixed_weights import are_equal, interpolate, name_of_share, weighted_mean


def batch_norm(mean, variance, batches):
    layer = nn.BatchNorm2d(1)
    layer.running_mean.fill_(mean)
    layer.running_var.fill_(variance)
    layer.num_batches_tracked.fill_(batches)
    return layer.state_dict()


def test_statistics_of_batch_norm_are_interpolated_as_weights_are_and_counts_stay_the_trained_ones():
    mixed = interpolate(batch_norm(4.0, 8.0, 100), batch_norm(0.0, 4.0, 7), 0.25)
    assert mixed["running_mean"].item() == 1.0
    assert mixed["running_var"].item() == 5.0
    assert mixed["num_batches_tracked"].item() == 100


def test_equal_weights_stay_as_they_are_to_the_last_bit():
    state = {"weight": torch.randn(50, 50), "half": torch.randn(50).half()}
    for mixed in (weighted_mean([state] * 3, [1 / 3] * 3), interpolate(state, state, 0.3)):
        assert all(
            torch.equal(value, state[name]) and value.dtype == state[name].dtype for name, value in mixed.items()
        )


def test_the_mean_of_checkpoints_is_that_of_each_weight():
    states = [{"weight": torch.tensor([float(number)])} for number in (1, 2, 6)]
    assert weighted_mean(states, [1 / 3] * 3)["weight"].item() == pytest.approx(3)


@pytest.mark.parametrize(("share", "name"), [(0.75, "3/4"), (0.5, "1/2"), (0.9, "9/10"), (0.123, "12.3 %")])
def test_a_share_is_called_what_people_call_it(share, name):
    assert name_of_share(share) == f"{name} fine-tuned"


def test_counts_of_batches_do_not_make_weights_differ():
    assert are_equal(batch_norm(1.0, 2.0, 5), batch_norm(1.0, 2.0, 9))
    assert not are_equal(batch_norm(1.0, 2.0, 5), batch_norm(1.5, 2.0, 5))
