from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from metricforge.engine.loading.seeding import derive_seed, seed_all, seed_host


def test_unlike_parts_give_unlike_seeds():
    parts = [(), (0,), (0, 0), (1,), (1, 0), (0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 3)]
    assert len({derive_seed(*p) for p in parts}) == len(parts)


def test_a_seed_fits_every_generator():
    for part in range(200):
        assert 0 <= derive_seed(part) < 2**63


def test_all_three_generators_repeat():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_all(7)
    first = draw()
    seed_all(7)
    assert draw() == first
    seed_all(8)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_seeding_the_host_alone_draws_there_what_seeding_everything_does():
    drawn = []
    for seed in (seed_all, seed_host):
        seed(2**62 + 5)
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("parts", [(), (0,), (7, 3, 0, 19), (2**32 - 1, 1), (2**32, 1), (2**40, 3)])
def test_a_seed_is_numpys_of_how_many_parts_and_the_parts(parts):
    state = np.random.SeedSequence((len(parts), *parts)).generate_state(1, np.uint64)
    assert derive_seed(*parts) == int(state[0]) >> 1
