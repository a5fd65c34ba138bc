import faiss
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from metricforge_lifted.embedding_bank import EmbeddingBank


def filled(labels, embeddings):
    bank = EmbeddingBank(np.asarray(labels))
    bank.replace(torch.as_tensor(embeddings, dtype=torch.float32))
    return bank


def brute_force(labels, embeddings, image, count):
    """The nearest of other classes by a float64 loop over dimensions, ties to the smaller index."""
    rows = torch.as_tensor(embeddings, dtype=torch.float32).tolist()

    def squared_distance(i):
        total = 0.0
        for a, b in zip(rows[i], rows[image], strict=True):
            total += (a - b) * (a - b)
        return total

    others = [i for i in range(len(labels)) if labels[i] != labels[image]]
    return sorted(others, key=lambda i: (squared_distance(i), i))[:count]


def test_a_hand_worked_line():
    bank = filled([0, 0, 1, 2, 1], [[0.0], [0.1], [1.0], [-2.0], [0.5]])
    found = bank.nearest_of_other_classes(np.array([0, 3]), 3)
    assert found.tolist() == [[4, 2, 3], [0, 1, 4]]


@example(
    seed=262, dim=3, classes=3
)  # 1.3 and 0.7 in either order: a tie for one order of adding up and not for another
@example(seed=96, dim=4, classes=3)
@given(seed=st.integers(0, 999), dim=st.integers(1, 5), classes=st.integers(2, 6))
def test_neighbours_are_those_of_a_loop_in_float64(seed, dim, classes):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(classes, size=40)])) * 7 - 5
    embeddings = rng.normal(size=(len(labels), dim)).round(1)  # rounded: many ties
    count = len(labels) - np.unique(labels, return_counts=True)[1].max()
    found = filled(labels, embeddings).nearest_of_other_classes(np.arange(len(labels)), count)
    assert found.tolist() == [brute_force(labels, embeddings, i, count) for i in range(len(labels))]


@pytest.mark.parametrize("by_products_from", [1, 10**6])
def test_a_collapsed_cloud_far_from_the_origin_keeps_its_order(by_products_from, monkeypatch):
    # faiss computes |x|^2 - 2xy + |y|^2 where it is asked for as many queries as this, from 20 on in some versions
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", by_products_from)
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 20
    embeddings = 100 + rng.normal(scale=0.01, size=(600, 8))  # a squared distance is 1e-7 of a squared norm
    found = filled(labels, embeddings).nearest_of_other_classes(np.arange(600), 4)
    assert found.tolist() == [brute_force(labels, embeddings, i, 4) for i in range(600)]


def test_what_float32_cannot_tell_apart_is_ordered_by_float64():
    aside = np.random.default_rng(0).permutation(30) * 1e-5  # squared distances 1 + aside^2, in float32 all 1
    embeddings = [[0.0, 0.0]] * 5 + [[1.0, a] for a in aside]
    found = filled([0] * 5 + [1] * 30, embeddings).nearest_of_other_classes(np.array([0]), 10)
    assert found.tolist() == [(5 + np.argsort(aside)[:10]).tolist()]


def test_equal_embeddings_of_many_images_are_told_apart_by_their_index():
    labels = np.random.default_rng(0).permutation(np.arange(200) % 4)
    found = filled(labels, np.full((200, 3), 0.3)).nearest_of_other_classes(np.arange(200), 5)
    assert found.tolist() == [np.flatnonzero(labels != label)[:5].tolist() for label in labels]


def test_more_near_ties_than_spare_candidates_do_not_hide_the_nearest():
    # 300 images in one direction, whose squared distances are all 1 in float32; the far pair sets the scale
    aside = np.random.default_rng(0).permutation(300) * 1e-6
    embeddings = [[0.0, 0.0], *([1.0, a] for a in aside), [50.0, 50.0], [-50.0, -50.0]]
    labels = [0] + [1] * 300 + [0, 0]
    found = filled(labels, embeddings).nearest_of_other_classes(np.array([0]), 8)
    assert found.tolist() == [(1 + np.argsort(aside)[:8]).tolist()]


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_embeddings_whose_squares_leave_float32_keep_their_order(scale):
    rng = np.random.default_rng(0)
    labels, embeddings = np.arange(120) % 5, rng.normal(size=(120, 4)) * scale
    found = filled(labels, embeddings).nearest_of_other_classes(np.arange(120), 6)
    assert found.tolist() == [brute_force(labels, embeddings, i, 6) for i in range(120)]


def test_blocks_of_any_size_find_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    labels = np.concatenate([np.zeros(90, int), rng.integers(1, 9, size=110)])  # one class much larger than the others
    bank = filled(labels, rng.normal(size=(200, 6)))
    images = rng.permutation(200)[:120]
    whole = bank.nearest_of_other_classes(images, 30)
    monkeypatch.setattr("metricforge_lifted.embedding_bank._VALUES_AT_ONCE", 1500)
    assert (bank.nearest_of_other_classes(images, 30) == whole).all()


def test_an_update_moves_the_images_it_names_and_no_other():
    bank = filled([0, 1, 1], [[0.0], [1.0], [2.0]])
    bank.update(torch.tensor([2, 0]), torch.tensor([[0.5], [0.25]]))
    bank.update(torch.tensor([2]), torch.tensor([[0.75]], dtype=torch.float64))
    assert bank.rows().tolist() == [[0.25], [1.0], [0.75]]
    assert bank.nearest_of_other_classes(np.array([0]), 2).tolist() == [[2, 1]]


def test_what_it_was_given_may_change_afterwards():
    embeddings, indices, moved = torch.zeros(3, 1), torch.tensor([1]), torch.ones(1, 1)
    bank = filled([0, 1, 1], embeddings)
    bank.update(indices, moved)
    for tensor in (embeddings, indices, moved):
        tensor += 1
    assert bank.rows().tolist() == [[0.0], [1.0], [0.0]]


def test_an_embedding_for_each_image_of_the_data_set_is_demanded():
    with pytest.raises(ValueError, match=r"each of the 3 images .* got \(4, 2\); embed the very data set"):
        filled([0, 1, 1], torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("indices", "embeddings", "message"),
    [
        ([0, 1], torch.zeros(2, 3), r"2 dimensions and was given 2 indices, got \(2, 3\)"),
        ([0, 1], torch.zeros(1, 2), r"given 2 indices, got \(1, 2\)"),
        ([0, 3], torch.zeros(2, 2), r"must be in 0\.\.2, .* got 0\.\.3"),
        ([-1], torch.zeros(1, 2), r"must be in 0\.\.2, .* got -1\.\.-1"),
    ],
)
def test_an_update_that_does_not_fit_is_refused(indices, embeddings, message):
    with pytest.raises(ValueError, match=message):
        filled([0, 1, 1], torch.zeros(3, 2)).update(torch.tensor(indices), embeddings)


def test_embeddings_that_are_not_finite_are_refused_by_image():
    with pytest.raises(ValueError, match=r"1 of 3 embeddings are not finite \(the first images: 1\)"):
        filled([0, 1, 1], [[0.0], [torch.nan], [0.0]])
    bank = filled([0, 1, 1], torch.zeros(3, 1))
    bank.update(torch.tensor([2]), torch.tensor([[torch.inf]]))
    with pytest.raises(ValueError, match=r"1 of 1 embeddings are not finite \(the first images: 2\)"):
        bank.rows()


def test_an_empty_bank_says_what_fills_it():
    bank = EmbeddingBank(np.array([0, 1]))
    for ask in (bank.rows, lambda: bank.update(torch.tensor([0]), torch.zeros(1, 2))):
        with pytest.raises(ValueError, match=r"the bank is empty; .*refresh"):
            ask()
