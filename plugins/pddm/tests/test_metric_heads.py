import math

import pytest
import torch
from metricforge_pddm import LMDM, PDDM, pair_unit
from torch.autograd import gradcheck

from metricforge import SIMILARITIES
from metricforge.testing import check_similarity

HEADS = [PDDM, LMDM]


def rows(count, dim=6, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def head(kind, dim=6, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    return kind(dim, dropout=dropout).double()


def loop_score(unit, x, y):
    """Eq. 2 as printed, for one pair, in Python floats; LMDM is the same without v'."""

    def affine(layer, values):
        weights, biases = layer.weight.tolist(), layer.bias.tolist()
        return [
            sum(w * v for w, v in zip(row, values, strict=True)) + b for row, b in zip(weights, biases, strict=True)
        ]

    def rectify(values):
        return [max(0.0, value) for value in values]

    def normalise(values):
        length = math.hypot(*values)
        return [value / length if length else 0.0 for value in values]

    x, y = normalise(x.tolist()), normalise(y.tolist())
    u = [abs(a - b) for a, b in zip(x, y, strict=True)]
    code = normalise(rectify(affine(unit.difference, u)))
    if isinstance(unit, PDDM):
        v = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
        code = code + normalise(rectify(affine(unit.mean, v)))
    return affine(unit.score, rectify(affine(unit.combine, code)))[0]


def loop_scores(unit, x, y):
    return torch.tensor([[loop_score(unit, a, b) for b in y] for a in x], dtype=torch.float64)


@pytest.mark.parametrize("kind", HEADS)
def test_the_contract_holds(kind):
    torch.manual_seed(0)
    check_similarity(kind(8), dim=8)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("hidden", [None, 3, 11])
def test_scores_equal_eq_2_for_each_pair(kind, hidden):
    torch.manual_seed(1)
    unit = kind(6, hidden=hidden, dropout=0.0).double()
    x, y = rows(4), rows(7, seed=1)
    torch.testing.assert_close(unit.pairwise(x, y), loop_scores(unit, x, y), rtol=1e-10, atol=1e-12)


def test_a_hand_worked_pddm_score():
    unit = PDDM(dim=2, dropout=0.0)
    for layer in (unit.difference, unit.mean):
        layer.weight.data, layer.bias.data = torch.eye(2), torch.zeros(2)
    unit.combine.weight.data = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, -5.0]])
    unit.combine.bias.data = torch.tensor([0.25, 0.0])
    unit.score.weight.data, unit.score.bias.data = torch.tensor([[2.0, 7.0]]), torch.tensor([-1.0])
    # Normalised: (1, 0) and (0, 1). u = (1, 1), v = (1/2, 1/2), so u' = v' = (r, r) with r = 1/sqrt(2).
    # c = relu(2 r + 1/4, r - 5 r) = (2 r + 1/4, 0); S = 2 (2 r + 1/4) - 1.
    score = unit.pairwise(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]]))
    assert score.item() == pytest.approx(4 / math.sqrt(2) - 0.5)


@pytest.mark.parametrize("kind", HEADS)
def test_scores_are_symmetric_in_evaluation_and_lengths_of_embeddings_do_not_matter(kind):
    unit, x = head(kind).eval(), rows(9)
    scores = unit.pairwise(x, x)
    torch.testing.assert_close(scores, scores.T, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(unit.pairwise(x * 40, x / 3), scores, rtol=1e-10, atol=1e-12)


def test_the_score_depends_on_position_in_pddm_and_not_in_lmdm():
    x, y = torch.tensor([[0.6, 0.8], [-0.6, -0.8]]).double(), torch.tensor([[0.8, 0.6], [-0.8, -0.6]]).double()
    for kind, same in ((PDDM, False), (LMDM, True)):
        here, there = head(kind, dim=2, seed=3).pairwise(x, y).diagonal()  # |x - y| is the same in both places
        assert torch.allclose(here, there) == same


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("elements", [1, 2 * 7 * 6, 10**9])
def test_the_size_of_a_block_changes_neither_scores_nor_gradients(kind, elements, monkeypatch):
    unit, y = head(kind), rows(7, seed=1)
    x = rows(5).requires_grad_()
    expected = loop_scores(unit, x.detach(), y)
    unit.pairwise(x, y).square().sum().backward()
    whole = [x.grad, *(parameter.grad for parameter in unit.parameters())]

    x.grad = None
    unit.zero_grad(set_to_none=True)
    monkeypatch.setattr(pair_unit, "MAX_BLOCK_ELEMENTS", elements)
    scores = unit.pairwise(x, y)
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    scores.square().sum().backward()
    for gradient, wanted in zip([x.grad, *(parameter.grad for parameter in unit.parameters())], whole, strict=True):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("kind", HEADS)
def test_no_tensor_is_larger_than_a_block_or_the_scores(kind, monkeypatch):
    monkeypatch.setattr(pair_unit, "MAX_BLOCK_ELEMENTS", 3 * 40 * 6)
    sizes = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(o.numel() for o in (out if isinstance(out, tuple | list) else [out]) if torch.is_tensor(o))
            return out

    unit = head(kind)
    with Record():
        unit.pairwise(rows(30), rows(40, seed=1)).sum().backward()
    assert max(sizes) <= max(30 * 40, 3 * 40 * 6)
    assert len(sizes) > 10


@pytest.mark.parametrize("kind", HEADS)
def test_dropout_in_blocks_draws_the_same_masks_in_the_backward_pass(kind, monkeypatch):
    # The score is linear in the last bias-free direction of W_s: its gradient is the forward pass's own sum of c.
    monkeypatch.setattr(pair_unit, "MAX_BLOCK_ELEMENTS", 2 * 8 * 6)
    unit, x = head(kind, dropout=0.5), rows(8)
    total = unit.pairwise(x, x).sum()
    total.backward()
    bias = unit.score.bias.item() * 64
    assert (unit.score.weight.grad * unit.score.weight).sum().item() + bias == pytest.approx(total.item())


@pytest.mark.parametrize("kind", HEADS)
def test_gradients_agree_with_finite_differences(kind):
    unit = head(kind, dim=3)
    x, y = rows(3, dim=3).requires_grad_(), rows(2, dim=3, seed=5).requires_grad_()
    names, weights = zip(*unit.named_parameters(), strict=True)

    def scores(x, y, *weights):
        return torch.func.functional_call(unit, dict(zip(names, weights, strict=True)), (x, y))

    assert gradcheck(scores, (x, y, *(weight.detach().clone().requires_grad_() for weight in weights)))


@pytest.mark.parametrize("kind", HEADS)
def test_duplicates_zero_embeddings_and_dead_layers_give_finite_scores_and_gradients(kind):
    unit = kind(4)
    with torch.no_grad():
        unit.difference.bias.fill_(-100)  # relu leaves nothing: r of a zero vector
    x = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4], [0, 0, 0, 0], [2, 0, 0, 1]], requires_grad=True)
    scores = unit.pairwise(x, x)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in unit.parameters())


@pytest.mark.parametrize("kind", HEADS)
def test_dropout_acts_in_training_only(kind):
    unit, x = head(kind, dropout=0.5), rows(6)
    assert not torch.equal(unit.pairwise(x, x), unit.pairwise(x, x))
    unit.eval()
    assert torch.equal(unit.pairwise(x, x), unit.pairwise(x, x))
    torch.testing.assert_close(unit.pairwise(x, x), loop_scores(unit, x, x))


@pytest.mark.parametrize("kind", HEADS)
def test_each_wide_layer_is_followed_by_dropout_and_codes_keep_length_1(kind):
    unit, x = head(kind, dropout=0.5), rows(20)
    codes, dropped = [], []
    unit.dropout.register_forward_hook(lambda _, inputs, output: dropped.append((inputs[0], output)))
    normalize = torch.nn.functional.normalize

    def record(values, **arguments):
        codes.append(normalize(values, **arguments))
        return codes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_unit.nn.functional, "normalize", record)
        unit.pairwise(x, x)
    layers = 3 if kind is PDDM else 2  # W_u, W_v where there is one, W_c
    assert len(dropped) == layers
    for before, after in dropped:
        active = before > 0
        assert (before >= 0).all()  # behind the ReLU
        assert 0.4 < (after[active] == 0).double().mean().item() < 0.6
    lengths = torch.cat([code.norm(dim=-1).flatten() for code in codes if code.dim() == 3])
    assert torch.isclose(lengths, torch.ones_like(lengths)).logical_or(lengths == 0).all()


@pytest.mark.parametrize("kind", HEADS)
def test_bfloat16_and_autocast_are_computed_in_float32(kind):
    unit = head(kind).eval().float()
    half = rows(5).bfloat16()
    expected = loop_scores(unit, half, half).float()  # of the rounded embeddings
    torch.testing.assert_close(unit.pairwise(half, half), expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = unit.pairwise(half.float(), half.float())
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    unit = unit.bfloat16()
    rounded_weights = loop_scores(unit, half, half).float()
    torch.testing.assert_close(unit.pairwise(half, half), rounded_weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_no_rows_give_no_scores(kind):
    unit = head(kind)
    assert unit.pairwise(rows(0), rows(3)).shape == (0, 3)
    assert unit.pairwise(rows(3), rows(0)).shape == (3, 0)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dim=0), "dim must be a whole number >= 1, got 0"),
        (dict(dim=4, hidden=0), "hidden must be a whole number >= 1, got 0"),
        (dict(dim=4, dropout=1.0), "dropout must be in 0 <= dropout < 1, got 1.0"),
        (dict(dim=4, dropout=-0.1), "dropout must be a number >= 0, got -0.1"),
    ],
)
def test_arguments_out_of_range_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


@pytest.mark.parametrize("kind", HEADS)
def test_embeddings_of_another_size_are_refused(kind):
    with pytest.raises(ValueError, match=r"embeddings must be \(N, 6\).*got shape \(2, 5\)"):
        head(kind).pairwise(rows(2, dim=6), rows(2, dim=5))


@pytest.mark.parametrize("name", ["PDDM", "LMDM"])
def test_a_config_may_leave_out_the_embedding_size(name):
    unit = SIMILARITIES.build(dict(type=name, dropout=0.1), dim=9)
    assert unit.difference.in_features == 9
    assert unit.search is None


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("tile", [1, 5 * 6, 2 * 7 * 6, 10**6])
@torch.no_grad()
def test_scores_without_gradients_equal_eq_2_whatever_the_tile(kind, tile, monkeypatch):
    monkeypatch.setitem(pair_unit.TILE_ELEMENTS, "cpu", tile)
    unit, x, y = head(kind, dropout=0.5).eval(), rows(9), rows(7, seed=1)
    torch.testing.assert_close(unit.pairwise(x, y), loop_scores(unit, x, y), rtol=1e-10, atol=1e-12)
    of_itself = unit.pairwise(x, x)
    torch.testing.assert_close(of_itself, loop_scores(unit, x, x), rtol=1e-10, atol=1e-12)
    assert torch.equal(of_itself, of_itself.T)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("tile", [1, 3 * 6, 10**6])
def test_lists_are_scored_by_eq_2_with_and_without_gradients(kind, tile, monkeypatch):
    monkeypatch.setitem(pair_unit.TILE_ELEMENTS, "cpu", tile)
    unit, x = head(kind).eval(), rows(4)
    lists = rows(4 * 5, seed=2).view(4, 5, 6)
    expected = torch.cat([loop_scores(unit, row[None], own) for row, own in zip(x, lists, strict=True)])
    torch.testing.assert_close(unit.score_lists(x, lists), expected, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(unit.score_lists(x, lists), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
@torch.no_grad()
def test_dead_layers_and_zero_embeddings_score_the_same_without_gradients(kind):
    unit, x = head(kind).eval(), torch.cat([rows(3), torch.zeros(1, 6, dtype=torch.float64)])
    unit.difference.bias.fill_(-100)
    torch.testing.assert_close(unit.pairwise(x, x), loop_scores(unit, x, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
@torch.no_grad()
def test_memory_without_gradients_is_the_scores_and_three_tiles(kind, monkeypatch):
    monkeypatch.setitem(pair_unit.TILE_ELEMENTS, "cpu", 600)
    sizes = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(o.numel() for o in (out if isinstance(out, tuple | list) else [out]) if torch.is_tensor(o))
            return out

    with Record():
        head(kind).eval().pairwise(rows(50), rows(60, seed=1))
    assert len(sizes) > 10
    assert max(sizes) <= 50 * 60


@torch.no_grad()
def test_in_training_scores_without_gradients_still_drop(monkeypatch):
    unit, x = head(PDDM, dropout=0.5).train(), rows(6)
    assert not torch.equal(unit.pairwise(x, x), unit.pairwise(x, x))


@pytest.mark.parametrize("kind", [PDDM, LMDM])
def test_paired_scores_are_those_of_all_pairs(kind):
    torch.manual_seed(0)
    unit = kind(6, dropout=0).double()
    x, y = torch.randn(2, 5, 6, dtype=torch.float64).requires_grad_()
    paired = unit.paired(x, y)
    torch.testing.assert_close(paired, unit.pairwise(x, y).diagonal())
    for found, wanted in zip(
        torch.autograd.grad(paired.sum(), [x, y, *unit.parameters()], retain_graph=True),
        torch.autograd.grad(unit.pairwise(x, y).diagonal().sum(), [x, y, *unit.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dim", [64, 129])
@pytest.mark.parametrize("kind", [PDDM, LMDM])
def test_a_unit_that_begins_as_the_distance_ranks_nearly_as_it_does(kind, dim):
    torch.manual_seed(0)
    labels = torch.arange(60).repeat_interleave(5)
    rows = torch.nn.functional.normalize(torch.randn(60, dim)[labels] + 1.3 * torch.randn(300, dim))
    off = ~torch.eye(300, dtype=torch.bool)

    def recall(scores):
        return (labels[scores.masked_fill(~off, -torch.inf).argmax(1)] == labels).float().mean().item()

    distances = torch.cdist(rows, rows)
    with torch.no_grad():
        random, scores = (kind(dim, init=init).eval().pairwise(rows, rows) for init in ("random", "distance"))
    assert recall(scores) > recall(-distances) - 0.03 > recall(random) + 0.3
    assert torch.corrcoef(torch.stack([scores[off], -(distances[off] ** 2)]))[0, 1] > 0.85


def test_another_init_is_refused():
    with pytest.raises(ValueError, match='init must be "random" or "distance", got \'zero\''):
        PDDM(4, init="zero")
