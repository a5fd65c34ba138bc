import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metricforge_normsoftmax.class_sample import draw_classes


@given(st.data())
def test_it_has_the_batch_s_own_classes_and_the_asked_number_all_different_and_ascending(data):
    num_classes = data.draw(st.integers(2, 60))
    labels = torch.tensor(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=20)))
    count = data.draw(st.integers(2, num_classes))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    drawn = draw_classes(labels, num_classes, count).tolist()
    own = set(labels.tolist())
    assert drawn == sorted(set(drawn))
    assert own <= set(drawn) <= set(range(num_classes))
    assert len(drawn) == max(count, len(own))


@pytest.mark.parametrize("count", [4, 12, 17])  # few are drawn by rejection, many from a permutation
def test_every_other_class_is_drawn_equally_often(count):
    torch.manual_seed(0)
    labels, rounds = torch.tensor([3, 3, 19]), 4000
    times = torch.zeros(20)
    for _ in range(rounds):
        times[draw_classes(labels, 20, count)] += 1
    share = (count - 2) / 18
    deviation = (rounds * share * (1 - share)) ** 0.5
    assert times[[3, 19]].tolist() == [rounds, rounds]
    others = times[[c for c in range(20) if c not in (3, 19)]]
    assert ((others - rounds * share).abs() < 4.5 * deviation).all()


def test_the_global_generator_decides():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(draw_classes(torch.tensor([5]), 10_000, 50).tolist())
    assert draws[0] == draws[1] != draws[2]
