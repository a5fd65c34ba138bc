import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml
from pytorch_metric_learning import distances as pml_distances
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import reducers as pml_reducers

from metricforge import LOSSES, MINERS, EmptyBatchWarning, Pairs, Triplets, functional
from metricforge.errors import ConfigError
from metricforge.testing import check_loss

DIM, CLASSES = 8, 4
NEEDED = {
    "CrossBatchMemory": dict(loss=dict(type="pml.ContrastiveLoss")),
    "ManifoldLoss": dict(K=4),
    "MultipleLosses": dict(losses=[dict(type="pml.ContrastiveLoss"), dict(type="pml.ArcFaceLoss")]),
    "RankedListLoss": dict(margin=0.4, Tn=1),
}
NAMES = sorted(name.removeprefix("pml.") for name in LOSSES.names() if name.startswith("pml."))
# What the README says does not keep the whole contract.
BREAKS_THE_CONTRACT = {
    "ManifoldLoss": "need a batch of at least as many samples",
    "NPairsLoss": "the order of the batch does not matter",
}


def build(name, num_classes=CLASSES, **arguments):
    torch.manual_seed(0)
    return LOSSES.build(
        dict(type=f"pml.{name}", **{**NEEDED.get(name, {}), **arguments}), dim=DIM, num_classes=num_classes
    )


def batch(classes=CLASSES, each=3, dim=DIM, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(each)
    return torch.randn(len(labels), dim, generator=generator, dtype=dtype), labels


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds_or_breaks_as_the_readme_says(name):
    classes = 3 if name == "SmoothAPLoss" else CLASSES  # of three samples each
    loss = build(name, classes)
    if name in BREAKS_THE_CONTRACT:
        with pytest.raises(AssertionError, match=BREAKS_THE_CONTRACT[name]):
            check_loss(loss, dim=DIM, num_classes=classes)
    else:
        check_loss(loss, dim=DIM, num_classes=classes)


UNCHANGED = sorted(
    set(NAMES)
    - {"CrossBatchMemory", "InstanceLoss", "ManifoldLoss", "MultipleLosses", "SmoothAPLoss", "VICRegLoss", "MarginLoss"}
)


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("mined", [None, "pairs", "triplets"])
@pytest.mark.parametrize("each", [3, 16])
def test_value_and_gradients_are_those_of_the_package_itself(name, mined, each):
    loss = build(name)
    if mined and not loss.accepts:
        pytest.skip("takes no tuples")
    sizes = dict(num_classes=CLASSES)
    sizes["descriptors_dim" if name == "P2SGradLoss" else "embedding_size"] = DIM
    torch.manual_seed(0)
    theirs = getattr(pml_losses, name)(**NEEDED.get(name, {}), **({} if loss.compares_samples else sizes))
    ours_in, labels = batch(each=each)
    theirs_in = ours_in.clone()
    tuples = indices = None
    if mined == "pairs":
        tuples = functional.all_pairs(labels)
        tuples = Pairs(tuples.first[::3], tuples.second[::3], tuples.positive[::3])
        rows = list(zip(tuples.first.tolist(), tuples.second.tolist(), strict=True))
        rows += [(second, first) for first, second in rows]
        same = [row for row in rows if labels[row[0]] == labels[row[1]]]
        other = [row for row in rows if labels[row[0]] != labels[row[1]]]
        indices = (*torch.tensor(same).T, *torch.tensor(other).T)
    if mined == "triplets":
        tuples = functional.all_triplets(labels)
        tuples = Triplets(tuples.anchor[::5], tuples.positive[::5], tuples.negative[::5])
        indices = (tuples.anchor, tuples.positive, tuples.negative)
    total = loss(ours_in.requires_grad_(), labels, tuples).total
    total.backward()
    expected = theirs(theirs_in.requires_grad_(), labels, *([] if indices is None else [indices]))
    expected.backward()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours_in.grad, theirs_in.grad)
    for ours, other in zip(loss.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, other.grad)


def test_a_nested_distance_and_reducer_are_the_package_s_own():
    loss = LOSSES.build(
        dict(
            type="pml.TripletMarginLoss",
            margin=0.5,
            distance=dict(type="pml.LpDistance", normalize_embeddings=False, power=2),
            reducer=dict(type="pml.ThresholdReducer", low=0.1),
        )
    )
    distance = pml_distances.LpDistance(normalize_embeddings=False, power=2)
    theirs = pml_losses.TripletMarginLoss(margin=0.5, distance=distance, reducer=pml_reducers.ThresholdReducer(low=0.1))
    embeddings, labels = batch()
    assert loss(embeddings, labels).total.item() == pytest.approx(theirs(embeddings, labels).item())
    squares = torch.cdist(embeddings, embeddings).square()
    rows = range(len(labels))
    hinges = [
        (squares[a, p] - squares[a, n] + 0.5).item()
        for a in rows
        for p in rows
        for n in rows
        if a != p and labels[a] == labels[p] != labels[n]
    ]
    kept = [hinge for hinge in hinges if hinge > 0.1]
    assert loss(embeddings, labels).total.item() == pytest.approx(sum(kept) / len(kept), rel=1e-5)


def test_weight_initialisers_regularizers_and_class_weights_can_be_written_in_a_config():
    loss = build(
        "NormalizedSoftmaxLoss",
        weight_init_func=dict(type="constant_", val=0.5),
        weight_regularizer=dict(type="pml.LpRegularizer"),
        weight_reg_weight=0.1,
        reducer=dict(type="pml.ClassWeightedReducer", weights=[1.0, 0.0, 0.0, 0.0]),
    )
    assert loss.wrapped.W.eq(0.5).all()
    embeddings, labels = batch()
    # All proxies are one, so that each sample costs log 4; of 12 samples the 3 of class 0 count. |W_c| = 0.5 sqrt 8.
    expected = 3 / 12 * torch.tensor(4.0).log().item() + 0.1 * 0.5 * 8**0.5
    assert loss(embeddings, labels).total.item() == pytest.approx(expected, rel=1e-5)


def test_histogram_loss_is_the_chance_that_a_negative_pair_is_more_alike_than_a_positive():
    embeddings, labels = batch(3, 2, dtype=torch.float64)
    unit = torch.nn.functional.normalize(embeddings)
    cosines = {True: [], False: []}
    for i in range(6):
        for j in range(i):
            cosines[bool(labels[i] == labels[j])].append((unit[i] @ unit[j]).item())

    def density(values):  # each value is shared by the two nearest of 11 nodes from -1 to 1
        nodes = [-1 + 0.2 * node for node in range(11)]
        return [sum(max(0, 1 - abs(value - node) / 0.2) for value in values) / len(values) for node in nodes]

    positive, negative = density(cosines[True]), density(cosines[False])
    expected = sum(chance * sum(positive[: node + 1]) for node, chance in enumerate(negative))
    assert build("HistogramLoss", n_bins=10)(embeddings, labels).total.item() == pytest.approx(expected)


def test_margin_loss_learns_one_boundary_or_one_for_each_class():
    assert build("MarginLoss", learn_beta=True).wrapped.beta.shape == (1,)
    assert build("MarginLoss", learn_beta=True, beta_per_class=True).wrapped.beta.shape == (CLASSES,)
    with pytest.raises(ValueError, match="beta_per_class=True needs num_classes"):
        metricforge_pml.losses.MarginLoss(beta_per_class=True)
    embeddings, labels = batch()
    expected = pml_losses.MarginLoss(num_classes=CLASSES)(embeddings, labels).item()
    assert build("MarginLoss", beta_per_class=True)(embeddings, labels).total.item() == pytest.approx(expected)


def test_smooth_ap_sorts_the_batch_and_refuses_what_the_package_computes_wrongly():
    embeddings, labels = batch(3, 3)
    order = torch.tensor([0, 3, 6, 1, 4, 7, 2, 5, 8])
    theirs = pml_losses.SmoothAPLoss()
    expected = theirs(embeddings[order], labels[order]).item()
    assert build("SmoothAPLoss")(embeddings, labels).total.item() == pytest.approx(expected)

    mined = Triplets(torch.tensor([0]), torch.tensor([3]), torch.tensor([1]))  # in the sorted batch 0, 1 and 3
    indices = torch.tensor([0]), torch.tensor([1]), torch.tensor([3])
    expected = theirs(embeddings[order], labels[order], indices).item()
    assert build("SmoothAPLoss")(embeddings, labels, mined).total.item() == pytest.approx(expected)

    with pytest.raises(ValueError, match="got 4 classes of 2 to 2 samples"):
        build("SmoothAPLoss")(*batch(4, 2))
    # When this no longer holds, the package has been repaired, and the refusal can go.
    perfect = torch.eye(4).repeat_interleave(2, dim=0) + 1e-3 * torch.randn(8, 4)
    assert theirs(perfect, torch.arange(4).repeat_interleave(2)).item() > 0.1


def test_vic_reg_takes_the_two_ends_of_positive_pairs_as_views():
    embeddings, labels = batch(2, 3)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j and labels[i] == labels[j]]
    first, second = torch.tensor(pairs).T
    expected = pml_losses.VICRegLoss()(embeddings[first], ref_emb=embeddings[second])
    assert build("VICRegLoss")(embeddings, labels).total.item() == pytest.approx(expected.item())


def test_instance_loss_tells_every_sample_from_all_others_in_any_order_and_whatever_the_labels():
    embeddings, labels = batch()
    unit = torch.nn.functional.normalize(embeddings.double())
    scores = 2 * unit @ unit.T
    expected = sum((scores[row].logsumexp(0) - scores[row, row]).item() for row in range(12)) / 12
    for given in (labels, labels.flip(0), torch.arange(12), torch.arange(12).flip(0)):
        assert build("InstanceLoss", gamma=2)(embeddings, given).total.item() == pytest.approx(expected)


def test_a_miner_that_found_nothing_gives_a_loss_with_proxies_zero_and_counts_as_an_empty_batch():
    embeddings, labels = batch()
    loss = build("ArcFaceLoss")
    with pytest.warns(EmptyBatchWarning, match="1 of 1 batches so far gave pml.ArcFaceLoss nothing to compare"):
        assert loss(embeddings, labels, functional.all_pairs(labels[:0])).total.item() == 0


@pytest.mark.parametrize(
    ("name", "empty"), [("ContrastiveLoss", True), ("ArcFaceLoss", False), ("CrossBatchMemory", False)]
)
def test_a_batch_of_one_class_is_empty_to_a_loss_that_compares_samples_only(name, empty):
    _, labels = batch(1)
    assert bool(build(name).can_compare(labels)) is not empty


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_no_sample_gives_zero(name):
    embeddings = torch.zeros(0, DIM, requires_grad=True)
    total = build(name)(embeddings, torch.zeros(0, dtype=torch.int64)).total
    total.backward()
    assert total.item() == 0


def test_several_losses_can_compare_what_one_of_them_can():
    _, labels = batch(1)
    samples, proxies = dict(type="pml.ContrastiveLoss"), dict(type="pml.ArcFaceLoss")
    assert not build("MultipleLosses", losses=[samples, samples]).can_compare(labels)
    assert build("MultipleLosses", losses=dict(a=samples, b=proxies)).can_compare(labels)


def test_manifold_loss_trains_without_labels_and_names_too_small_a_batch():
    embeddings, labels = batch()
    embeddings.requires_grad_()
    build("ManifoldLoss")(embeddings, labels).total.backward()
    assert embeddings.grad.isfinite().all()
    assert embeddings.grad.any()
    with pytest.raises(ValueError, match=r"K \(4\) proxies need a batch of at least as many samples, got 3"):
        build("ManifoldLoss")(embeddings[:3], labels[:3])


def test_multiple_losses_add_up_with_their_weights_and_miners():
    loss = LOSSES.build(
        dict(
            type="pml.MultipleLosses",
            losses=dict(a=dict(type="pml.ContrastiveLoss"), b=dict(type="pml.TripletMarginLoss")),
            miners=dict(b=dict(type="pml.BatchHardMiner")),
            weights=dict(a=2.0, b=0.5),
        )
    )
    embeddings, labels = batch()
    first = LOSSES.build(dict(type="pml.ContrastiveLoss"))(embeddings, labels).total
    mined = MINERS.build(dict(type="pml.BatchHardMiner"))(embeddings, labels, None)
    second = LOSSES.build(dict(type="pml.TripletMarginLoss"))(embeddings, labels, mined).total
    assert loss(embeddings, labels).total.item() == pytest.approx((2 * first + 0.5 * second).item())
    with pytest.raises(ValueError, match="exclude each other"):
        loss(embeddings, labels, mined)


def test_multiple_losses_in_a_list_may_leave_one_without_a_miner():
    parts = [dict(type="pml.ContrastiveLoss"), dict(type="pml.TripletMarginLoss")]
    loss = LOSSES.build(dict(type="pml.MultipleLosses", losses=parts, miners=[None, dict(type="pml.BatchHardMiner")]))
    embeddings, labels = batch()
    mined = MINERS.build(dict(type="pml.BatchHardMiner"))(embeddings, labels, None)
    expected = (
        LOSSES.build(parts[0])(embeddings, labels).total + LOSSES.build(parts[1])(embeddings, labels, mined).total
    )
    assert loss(embeddings, labels).total.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(losses=dict(type="pml.ContrastiveLoss")), "losses must be a list or a dict, got .*ContrastiveLoss"),
        (dict(losses=[dict(type="pml.NCALoss"), None]), r"losses\[1\] must be a loss, such as .* got NoneType"),
        (
            dict(losses=[dict(type="pml.NCALoss")], weights=[1.0, 2.0]),
            r"weights must have one .* are \[0\], got \[0, 1\]",
        ),
        (dict(losses=[dict(type="pml.NCALoss")], miners=[]), r"miners must have one .* are \[0\], got \[\]"),
        (
            dict(losses=[dict(type="TripletLoss")], miners=[dict(type="HardPairMiner")]),
            r"miners\[0\]: HardPairMiner yields Pairs, but TripletLoss accepts Triplets",
        ),
        (
            dict(losses=dict(a=dict(type="pml.PNPLoss")), miners=dict(a=dict(type="HardPairMiner"))),
            r"miners\['a'\]: HardPairMiner .* pml\.PNPLoss accepts no tuples at all; leave its miner out",
        ),
        (dict(losses=dict(a=dict(type="pml.NCALoss")), miners=dict(b=None)), r"miners .* are \['a'\], got \['b'\]"),
        (dict(losses=dict(a=dict(type="pml.NCALoss")), weights=[1.0]), r"weights .* are \['a'\], got \[0\]"),
    ],
)
def test_multiple_losses_name_parts_that_do_not_fit_or_are_not_as_many(arguments, says):
    with pytest.raises(ConfigError, match=says):
        LOSSES.build(dict(type="pml.MultipleLosses", **arguments))


def test_multiple_losses_are_asked_for_what_each_of_them_is_asked_for():
    embeddings, labels = batch()
    loss = build("MultipleLosses", losses=[dict(type="pml.NCALoss"), dict(type="pml.PNPLoss")])
    assert loss(embeddings, labels).total.isfinite()
    with pytest.raises(ValueError, match=r"pml\.PNPLoss, one of the losses, takes no tuples"):
        loss(embeddings, labels, functional.all_pairs(labels))
    packaged = dict(type="pml.EmbeddingsAlreadyPackagedAsTriplets")
    with pytest.raises(ValueError, match="not packaged"):
        build("MultipleLosses", losses=[dict(type="pml.TripletMarginLoss")], miners=[packaged])(embeddings, labels)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(loss=dict(type="ProxyNCALoss")), "ProxyNCALoss accepts neither Pairs nor Triplets"),
        (
            dict(loss=dict(type="TripletLoss"), miner=dict(type="HardPairMiner")),
            "miner: HardPairMiner yields Pairs, but TripletLoss accepts Triplets",
        ),
        (dict(miner=dict(type="pml.EmbeddingsAlreadyPackagedAsTriplets")), "of a batch and a memory"),
        (dict(loss=dict(type="pml.ArcFaceLoss")), r"pml\.ArcFaceLoss cannot compare a batch with a memory"),
        (dict(loss=dict(type="pml.HistogramLoss")), r"pml\.HistogramLoss cannot compare a batch with a memory"),
        (
            dict(loss=dict(type="pml.ContrastiveLoss", reducer=dict(type="pml.PerAnchorReducer"))),
            r"pml\.PerAnchorReducer of pml\.ContrastiveLoss has a place for pairs within the batch only",
        ),
        (dict(memory_size=0), "memory_size must be a whole number >= 1, got 0"),
    ],
)
def test_cross_batch_memory_refuses_what_it_cannot_call(arguments, says):
    cfg = dict(type="pml.CrossBatchMemory", loss=dict(type="pml.ContrastiveLoss"))
    with pytest.raises(ConfigError, match=says):
        LOSSES.build({**cfg, **arguments}, dim=DIM, num_classes=CLASSES)


@pytest.mark.parametrize("name", pml_losses.CrossBatchMemory.supported_losses())
def test_cross_batch_memory_takes_every_loss_that_it_takes_over_there(name):
    ours = build("CrossBatchMemory", loss=dict(type=f"pml.{name}"))
    theirs = pml_losses.CrossBatchMemory(getattr(pml_losses, name)(), DIM)
    for seed in range(2):
        embeddings, labels = batch(seed=seed)
        # in the first batch the memory has each sample itself: a cosine of 1, which two of the losses round off
        assert ours(embeddings, labels).total.item() == pytest.approx(theirs(embeddings, labels).item(), rel=1e-4)


def test_cross_batch_memory_compares_with_the_batches_before_and_keeps_them_in_its_state():
    def build_memory():
        nested = dict(loss=dict(type="pml.ContrastiveLoss"), miner=dict(type="pml.PairMarginMiner"))
        return LOSSES.build(dict(type="pml.CrossBatchMemory", memory_size=30, **nested), dim=DIM)

    from pytorch_metric_learning.miners import PairMarginMiner

    ours = build_memory()
    theirs = pml_losses.CrossBatchMemory(pml_losses.ContrastiveLoss(), DIM, memory_size=30, miner=PairMarginMiner())
    for seed in range(4):  # the third fills the memory
        embeddings, labels = batch(seed=seed)
        assert ours(embeddings, labels).total.item() == pytest.approx(theirs(embeddings, labels).item())
        ours_again = build_memory()
        ours_again.load_state_dict(ours.state_dict())
        ours = ours_again
    with pytest.raises(ValueError, match=r"memory_size \(30\) must be at least the batch's 36 samples"):
        ours(*batch(each=9))


def test_the_running_histogram_is_part_of_the_state():
    loss, fresh = build("DynamicSoftMarginLoss"), build("DynamicSoftMarginLoss")
    for seed in range(3):
        loss(*batch(seed=seed))
    fresh.load_state_dict(loss.state_dict())
    assert fresh(*batch(seed=5)).total.item() == loss(*batch(seed=5)).total.item()
    assert build("DynamicSoftMarginLoss")(*batch(seed=5)).total.item() != loss(*batch(seed=5)).total.item()


@pytest.mark.parametrize("name", ["HistogramLoss", "TupletMarginLoss", "DynamicSoftMarginLoss"])
def test_duplicates_that_break_the_package_itself_train(name):
    embeddings, labels = batch()
    embeddings[4] = embeddings[0]  # a positive pair
    embeddings[1], embeddings[2] = embeddings[0], -embeddings[6]  # a negative pair, and an opposite positive pair
    total = build(name)(embeddings.requires_grad_(), labels).total
    total.backward()
    assert total.isfinite()
    assert embeddings.grad.isfinite().all()


def test_cosines_that_rounding_brings_beyond_one_are_counted_in_the_last_bins():
    loss = build("HistogramLoss", n_bins=2).wrapped
    beyond = torch.tensor([1 + 1e-6, -1 - 1e-6, 0.5])  # nodes -1, 0, 1; the last value is shared by two
    torch.testing.assert_close(loss.compute_density(beyond), torch.tensor([1.0, 0.5, 1.5]) / 3, atol=1e-5, rtol=0)


def test_recorded_angles_of_duplicates_are_finite():
    embeddings, labels = batch()
    embeddings[1] = embeddings[0]
    unit = torch.nn.functional.normalize(embeddings)
    embeddings = torch.where((unit @ unit[0] > 0.999)[:, None], 3 * unit[0], embeddings)
    parts = build("TupletMarginLoss", collect_stats=True)(embeddings, labels).parts
    assert parts["avg_neg_angle"].isfinite()
    assert 0 < parts["avg_neg_angle"] < 180


def test_recorded_statistics_are_parts_to_log():
    assert build("NPairsLoss")(*batch()).parts == {}
    parts = build("NPairsLoss", collect_stats=True)(*batch()).parts
    assert parts["num_pairs"].item() == CLASSES


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_64_rows_in_half_precision_give_what_the_same_numbers_give_in_float32(name, dtype):
    embeddings, labels = batch(each=16)
    half = embeddings.to(dtype)
    assert build(name)(half, labels).total.item() == build(name)(half.float(), labels).total.item()


def test_half_types_are_computed_in_float32_and_double_stays():
    embeddings, labels = batch(dtype=torch.float64)
    loss = build("ArcFaceLoss")
    assert loss(embeddings.bfloat16(), labels).total.dtype == torch.float32
    assert loss(embeddings, labels).total.dtype == torch.float64


def test_a_nan_is_not_hidden_by_a_batch_without_pairs():
    loss = build("ContrastiveLoss")
    assert loss(torch.full((2, DIM), torch.nan), torch.tensor([0, 0])).total.isnan()


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_without_a_proxy_is_named(label):
    embeddings, labels = batch()
    labels[3] = label
    with pytest.raises(ValueError, match=rf"label {label} is outside 0..3"):
        build("ProxyAnchorLoss")(embeddings, labels)


def test_a_loss_that_takes_no_tuples_refuses_them():
    embeddings, labels = batch()
    with pytest.raises(TypeError, match="accepts no tuples, got Pairs"):
        build("RankedListLoss")(embeddings, labels, functional.all_pairs(labels))
    with pytest.raises(TypeError, match="accepts Pairs or Triplets, got Quadruplets"):
        build("ContrastiveLoss")(embeddings, labels, functional.all_quadruplets(labels[:6]))
