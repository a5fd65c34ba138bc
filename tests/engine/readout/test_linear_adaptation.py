import numpy as np
import torch

from metricforge.engine.readout.linear_adaptation import adapt_linearly


def neighbours_of_the_same_class(rows, labels):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return (labels[similar.argmax(axis=1)] == labels).mean()


def features(classes, seed):
    """Four dimensions that tell classes apart, among 28 of noise."""
    draws = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 12)
    signal = draws.normal(size=(classes, 4))[labels] + 0.3 * draws.normal(size=(len(labels), 4))
    return np.concatenate([signal, 0.5 * draws.normal(size=(len(labels), 28))], axis=1).astype(np.float32), labels


def test_it_finds_what_tells_classes_apart_that_it_has_not_seen():
    rows, labels = features(40, seed=0)
    weight, bias = adapt_linearly(rows, labels, 8, seed=0)
    seen, classes = features(20, seed=1)
    normalised = torch.nn.functional.layer_norm(torch.from_numpy(seen), (32,))
    adapted = (normalised @ weight.T + bias).numpy()
    assert adapted.shape == (240, 8)
    before = neighbours_of_the_same_class(seen, classes)
    assert neighbours_of_the_same_class(adapted, classes) > before + 0.1


def test_the_same_seed_gives_the_same_layer_and_draws_nothing_from_others():
    rows, labels = features(5, seed=0)
    before = torch.get_rng_state()
    first, second = (adapt_linearly(rows, labels, 3, seed=4) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(adapt_linearly(rows, labels, 3, seed=5)[0], first[0])


def test_equal_features_teach_nothing():
    assert adapt_linearly(np.ones((6, 4), dtype=np.float32), np.arange(6) // 2, 2, seed=0) is None
