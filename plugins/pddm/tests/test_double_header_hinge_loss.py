import math

import pytest
import torch
from metricforge_pddm import PDDM, DoubleHeaderHingeLoss, HardQuadrupletMiner
from torch.autograd import gradcheck

from metricforge import SIMILARITIES, EmptyBatchWarning, Pairs, Quadruplets, Similarity, Triplets
from metricforge.testing import check_loss

# Unit vectors: 0 and 1 of one class, 2 and 3 of another. Angles in degrees.
ANGLES = torch.tensor([0.0, 60.0, 90.0, 180.0], dtype=torch.float64)
POINTS = torch.stack([ANGLES.deg2rad().cos(), ANGLES.deg2rad().sin()], dim=1)
LABELS = torch.tensor([0, 0, 1, 1])


class TableSimilarity(Similarity):
    """Scores (B, B) read from a table that can be trained."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(table, dtype=torch.float64))

    def pairwise(self, x, y):
        return self.table


def scores():
    # Without the diagonal they run from -1 to 3: a range of 4.
    return TableSimilarity([[50.0, 1, 0, 2], [1, 50.0, 3, -1], [0, 3, 50.0, 1], [2, -1, 1, 50.0]])


def quadruplets(*rows):
    return Quadruplets(*(torch.tensor(column, dtype=torch.int64) for column in zip(*rows, strict=True)))


def chord(degrees):
    return 2 * math.sin(math.radians(degrees) / 2)


def test_the_contract_holds():
    check_loss(DoubleHeaderHingeLoss())
    check_loss(DoubleHeaderHingeLoss(scale_scores=False, squared_distances=True))


def test_hinges_of_scores_as_they_are():
    loss = DoubleHeaderHingeLoss(alpha=0.5, embedding_weight=0.0, scale_scores=False)
    # (0, 1, 3, 2): S_ij = 1, S_ik = S_03 = 2, S_jl = S_12 = 3, so [0.5 + 1]_+ + [0.5 + 2]_+.
    assert loss(POINTS, LABELS, quadruplets((0, 1, 3, 2)), scores()).total.item() == pytest.approx(1.5 + 2.5)
    # (0, 1, 2, 3): S_ik = S_02 = 0, S_jl = S_13 = -1: both hinges are closed.
    assert loss(POINTS, LABELS, quadruplets((0, 1, 2, 3)), scores()).total.item() == 0


def test_scores_are_scaled_by_the_range_of_the_batch_without_its_diagonal():
    loss = DoubleHeaderHingeLoss(alpha=0.5, embedding_weight=0.0)
    total = loss(POINTS, LABELS, quadruplets((0, 1, 3, 2)), scores()).total
    assert total.item() == pytest.approx((0.5 + 1 / 4) + (0.5 + 2 / 4))


def test_hinges_of_distances_plain_and_squared():
    one = quadruplets((0, 1, 2, 3))  # D_ij: 60 degrees, D_ik: 90, D_jl: 120
    plain = DoubleHeaderHingeLoss(beta=1.0, embedding_weight=1.0)(3 * POINTS, LABELS, one, scores())
    expected = (1 + chord(60) - chord(90)) + (1 + chord(60) - chord(120))
    assert plain.parts["e_e"].item() == pytest.approx(expected)
    squared = DoubleHeaderHingeLoss(beta=1.0, squared_distances=True)(3 * POINTS, LABELS, one, scores())
    assert squared.parts["e_e"].item() == pytest.approx(max(0, 1 + 1 - 2) + max(0, 1 + 1 - 3))
    closer = DoubleHeaderHingeLoss(beta=2.5, squared_distances=True)(3 * POINTS, LABELS, one, scores())
    assert closer.parts["e_e"].item() == pytest.approx((2.5 + 1 - 2) + (2.5 + 1 - 3))


def test_a_triplet_has_the_first_hinge_of_each_alone():
    one = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([3]))
    loss = DoubleHeaderHingeLoss(alpha=0.5, beta=2.5, embedding_weight=0.5, scale_scores=False)
    output = loss(POINTS, LABELS, one, scores())
    e_m, e_e = 0.5 + 2 - 1, 2.5 + chord(60) - chord(180)  # S_ij = 1, S_ik = S_03 = 2; D_ij: 60 degrees, D_ik: 180
    assert output.parts["e_m"].item() == pytest.approx(e_m)
    assert output.parts["e_e"].item() == pytest.approx(e_e)
    assert output.total.item() == pytest.approx(e_m + 0.5 * e_e)


def test_the_identity_printed_under_eq_4_holds_for_squared_distances():
    embeddings = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    beta = 9.0  # no hinge is closed: squared distances are at most 4
    loss = DoubleHeaderHingeLoss(beta=beta, squared_distances=True)
    e_e = loss(embeddings, LABELS, quadruplets((0, 1, 2, 3)), scores()).parts["e_e"].item()
    i, j, k, l = unit  # noqa: E741
    expected = (beta - 2 * i @ j + 2 * i @ k) + (beta - 2 * i @ j + 2 * j @ l)
    assert e_e == pytest.approx(expected.item())


def test_the_total_is_e_m_plus_lambda_e_e_and_embedding_weight_0_leaves_e_m_alone():
    one = quadruplets((0, 1, 3, 2))
    both = DoubleHeaderHingeLoss(embedding_weight=0.3)(POINTS, LABELS, one, scores())
    assert both.parts["e_e"].item() > 0
    assert both.total.item() == pytest.approx(both.parts["e_m"].item() + 0.3 * both.parts["e_e"].item())
    alone = DoubleHeaderHingeLoss(embedding_weight=0)(POINTS, LABELS, one, scores())
    assert alone.total.item() == pytest.approx(both.parts["e_m"].item())


def test_several_quadruplets_are_averaged():
    loss = DoubleHeaderHingeLoss(scale_scores=False)
    rows = [(0, 1, 3, 2), (2, 3, 1, 0), (1, 0, 2, 2)]
    each = [loss(POINTS, LABELS, quadruplets(row), scores()).total.item() for row in rows]
    assert len({round(value, 6) for value in each}) == 3
    assert loss(POINTS, LABELS, quadruplets(*rows), scores()).total.item() == pytest.approx(sum(each) / 3)


def test_the_gradient_does_not_vanish_where_the_quadruplet_has_both_ends_of_the_range():
    # S_01 = 0 is the batch's smallest score, S_02 and S_13 its largest: scaled, they are 0 and 1 whatever the weights.
    table = TableSimilarity([[0.0, 0, 2, 1], [0, 0.0, 1, 2], [2, 1, 0.0, 1], [1, 2, 1, 0.0]])
    loss = DoubleHeaderHingeLoss(embedding_weight=0)
    loss(POINTS, LABELS, quadruplets((0, 1, 2, 3)), table).total.backward()
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[0, 1], expected[0, 2], expected[1, 3] = -2 / 2, 1 / 2, 1 / 2  # each hinge's slope, divided by the range 2
    torch.testing.assert_close(table.table.grad, expected)


@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_equal_scores_leave_the_margin_and_bounded_gradients(spread):
    table = TableSimilarity([[0.0, 1, 1, 1], [1, 0.0, 1 + spread, 1], [1, 1, 0.0, 1], [1, 1, 1, 0.0]])
    total = DoubleHeaderHingeLoss(alpha=0.5, embedding_weight=0)(POINTS, LABELS, quadruplets((0, 1, 3, 2)), table).total
    total.backward()
    assert total.item() == pytest.approx(2 * 0.5, abs=1e-5)
    assert table.table.grad.abs().max().item() <= 2 / 1e-6


@pytest.mark.parametrize("squared", [False, True])
def test_gradients_agree_with_finite_differences(squared):
    torch.manual_seed(0)
    unit = PDDM(3, hidden=9, dropout=0.0).double()
    embeddings = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2])
    mined = HardQuadrupletMiner(per="anchor")(embeddings, labels, unit)
    loss = DoubleHeaderHingeLoss(scale_scores=False, squared_distances=squared)
    assert len(mined) == 4
    assert gradcheck(lambda e: loss(e, labels, mined, unit).total, (embeddings,))


def test_gradients_reach_the_metric_head_and_the_embeddings():
    torch.manual_seed(0)
    unit = PDDM(16)
    embeddings = torch.randn(12, 16, requires_grad=True)
    labels = torch.arange(12) // 4
    mined = HardQuadrupletMiner()(embeddings, labels, unit)
    DoubleHeaderHingeLoss(alpha=2.0, embedding_weight=0)(embeddings, labels, mined, unit).total.backward()
    assert embeddings.grad.abs().sum() > 0
    assert unit.difference.weight.grad.abs().sum() > 0
    assert unit.score.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "labels", [[], [0], [0, 0, 0], [0, 1, 2]], ids=["no image", "one image", "one class", "all different"]
)
def test_a_batch_without_quadruplets_gives_zero_and_zero_gradients(labels):
    unit = PDDM(4)
    embeddings = torch.randn(len(labels), 4, requires_grad=True)
    labels = torch.tensor(labels, dtype=torch.int64)
    mined = HardQuadrupletMiner()(embeddings, labels, unit)
    assert len(mined) == 0
    with pytest.warns(EmptyBatchWarning, match="1 of 1 batches so far gave DoubleHeaderHingeLoss nothing"):
        total = DoubleHeaderHingeLoss()(embeddings, labels, mined, unit).total
    total.backward()
    assert total.item() == 0
    assert (embeddings.grad == 0).all()
    assert all((parameter.grad == 0).all() for parameter in unit.parameters())


def test_duplicates_in_bfloat16_give_finite_gradients():
    unit = PDDM(4, dropout=0.0)
    embeddings = torch.ones(4, 4, dtype=torch.bfloat16, requires_grad=True)
    output = DoubleHeaderHingeLoss()(embeddings, LABELS, quadruplets((0, 1, 2, 3)), unit)
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert output.total.item() == pytest.approx(2 * 0.5 + 0.5 * 2 * 1.0, rel=1e-3)  # all scores and distances are equal
    assert embeddings.grad.isfinite().all()


def test_a_fixed_similarity_serves_too():
    one = quadruplets((0, 1, 2, 3))
    loss = DoubleHeaderHingeLoss(alpha=1.0, scale_scores=False)
    e_m = loss(POINTS, LABELS, one, SIMILARITIES.build(dict(type="CosineSimilarity"))).parts["e_m"].item()
    assert e_m == pytest.approx((1 + 0 - 0.5) + max(0, 1 - 0.5 - 0.5))  # cosines of 60, 90 and 120 degrees


def test_the_learned_score_separates_classes_that_distance_does_not():
    # Class 0 is wide (60 degrees), classes 1 and 2 are 10 degrees apart: no threshold on the distance separates them.
    torch.manual_seed(0)
    angles = torch.tensor([0.0, 60, 180, 182, 192, 194]).deg2rad()
    embeddings, labels = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([0, 0, 1, 1, 2, 2])
    unit = PDDM(2, hidden=16, dropout=0.0)
    miner, loss = HardQuadrupletMiner(per="anchor"), DoubleHeaderHingeLoss(embedding_weight=0)
    optimizer = torch.optim.Adam(unit.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        loss(embeddings, labels, miner(embeddings, labels, unit), unit).total.backward()
        optimizer.step()
    learned = unit.pairwise(embeddings, embeddings)
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(6, dtype=torch.bool)
    assert learned[positive].min() > learned[~same].max()


@pytest.mark.parametrize("argument", ["alpha", "beta", "embedding_weight"])
def test_negative_arguments_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be a number >= 0, got -0.1"):
        DoubleHeaderHingeLoss(**{argument: -0.1})


def test_a_call_without_quadruplets_or_similarity_says_what_to_set():
    loss = DoubleHeaderHingeLoss()
    with pytest.raises(ValueError, match="needs Quadruplets or Triplets, got NoneType; set a miner"):
        loss(POINTS, LABELS, None, scores())
    pair = Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([True]))
    with pytest.raises(ValueError, match="needs Quadruplets or Triplets, got Pairs"):
        loss(POINTS, LABELS, pair, scores())
    with pytest.raises(ValueError, match="needs the similarity whose scores it trains"):
        loss(POINTS, LABELS, quadruplets((0, 1, 2, 3)), None)


@pytest.mark.parametrize("scale", [True, False])
def test_the_pairs_of_the_tuples_alone_give_the_gradient_of_all_pairs(scale):
    torch.manual_seed(0)
    unit, loss = PDDM(5, dropout=0).double(), DoubleHeaderHingeLoss(scale_scores=scale)
    embeddings = torch.randn(9, 5, dtype=torch.float64).requires_grad_()
    labels = torch.arange(3).repeat(3)
    one = HardQuadrupletMiner(per="anchor")(embeddings, labels, unit)
    asked = []
    unit.pairwise = lambda x, y, inner=unit.pairwise: asked.append(torch.is_grad_enabled()) or inner(x, y)
    found = loss(embeddings, labels, one, unit).total
    assert asked.count(True) == 0

    class AllPairs(Similarity):
        def pairwise(self, x, y):
            return type(unit).pairwise(unit, x, y)

    expected = loss(embeddings, labels, one, AllPairs()).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    wanted = [embeddings, *unit.parameters()]
    for gradient, other in zip(torch.autograd.grad(found, wanted), torch.autograd.grad(expected, wanted), strict=True):
        torch.testing.assert_close(gradient, other)


def by_loop(embeddings, table, mined, alpha, beta, weight, *, scale, squared):
    """Eqs. 3, 4 and 6 of the paper, one quadruplet (i, j, k, l) at a time, in Python floats."""
    points = embeddings.double().tolist()
    unit = [[value / math.hypot(*x) for value in x] for x in points]
    others = [row[j] for i, row in enumerate(table) for j in range(len(table)) if i != j]
    low, reach = (min(others), max(others) - min(others)) if scale else (0.0, 1.0)

    def score(i, j):
        return (table[i][j] - low) / reach

    def distance(i, j):
        return math.dist(unit[i], unit[j]) ** (2 if squared else 1)

    e_m = e_e = 0.0
    for i, j, k, l in mined:  # noqa: E741
        e_m += max(0.0, alpha + score(i, k) - score(i, j)) + max(0.0, alpha + score(j, l) - score(i, j))
        e_e += max(0.0, beta + distance(i, j) - distance(i, k)) + max(0.0, beta + distance(i, j) - distance(j, l))
    return (e_m + weight * e_e) / len(mined)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("scale", "squared"), [(True, False), (True, True), (False, False)])
def test_64_rows_some_of_them_duplicates_equal_the_loop(dtype, scale, squared):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(64, 5, generator=generator, dtype=torch.float64)
    embeddings[[1, 40, 63]] = embeddings[[0, 2, 62]]
    embeddings = embeddings.to(dtype)
    labels = torch.tensor([0] * 20 + [1] * 15 + [2] * 12 + [3] * 10 + [4, 4, 5, 6, 7, 8, 9])
    table = torch.rand(64, 64, generator=generator, dtype=torch.float64)
    table = (table + table.T).tolist()
    draw = torch.randint(64, (500, 4), generator=generator).tolist()
    same = [row for row in draw if row[0] != row[1] and labels[row[0]] == labels[row[1]]]
    same = [row for row in same if labels[row[0]] not in labels[row[2:]]]
    assert len(same) > 50
    loss = DoubleHeaderHingeLoss(
        alpha=0.5, beta=1.0, embedding_weight=0.3, scale_scores=scale, squared_distances=squared
    )
    expected = by_loop(embeddings, table, same, 0.5, 1.0, 0.3, scale=scale, squared=squared)
    total = loss(embeddings, labels, quadruplets(*same), TableSimilarity(table)).total
    assert total.item() == pytest.approx(expected, rel=1e-9 if dtype == torch.float64 else 10 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("labels", [[3], [0] * 64, list(range(64))])
def test_a_batch_without_a_quadruplet_gives_zero(labels):
    embeddings = torch.randn(len(labels), 3, requires_grad=True)
    similarity = PDDM(3, hidden=9)
    mined = HardQuadrupletMiner()(embeddings, torch.tensor(labels), similarity)
    with pytest.warns(EmptyBatchWarning):
        total = DoubleHeaderHingeLoss()(embeddings, torch.tensor(labels), mined, similarity).total
    assert total.item() == 0
    assert torch.equal(torch.autograd.grad(total, embeddings)[0], torch.zeros_like(embeddings))
