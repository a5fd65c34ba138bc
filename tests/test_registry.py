from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from metricforge import LOSSES, BatchSampler, Loss, LossOutput
from metricforge.component_arguments import accepted_arguments
from metricforge.errors import ConfigError, RegistrationError, UnknownTypeError
from metricforge.registry import KINDS, Registry


class Holder:
    """Takes another component, and what the framework derives."""

    def __init__(self, similarity: object, dim: int, num_classes: int = 0) -> None:
        self.similarity, self.dim, self.num_classes = similarity, dim, num_classes


@pytest.fixture
def registry(monkeypatch):
    fresh = Registry("holder", "metricforge.similarities")
    fresh.register_module(module=Holder)
    monkeypatch.setattr(fresh, "_imported", True)
    return fresh


def test_a_nested_component_is_built_and_derived_values_are_handed_over(registry):
    built = registry.build(dict(type="Holder", similarity=dict(type="CosineSimilarity")), dim=4, labels="unused")
    assert type(built.similarity).__name__ == "CosineSimilarity"
    assert built.dim == 4


def test_a_fault_in_a_nested_component_has_the_whole_path(registry):
    with pytest.raises(ConfigError, match=r"model\.head\.similarity\.type: \"Cosine\""):
        registry.build(dict(type="Holder", similarity=dict(type="Cosine")), path="model.head", dim=4)


class Collection:
    """Takes parts under names that are no kinds, alone, in a list or in a dict."""

    nested = {"main": KINDS["similarity"], "others": KINDS["loss"]}  # noqa: RUF012

    def __init__(self, main: object, others: object = None) -> None:
        self.main, self.others = main, others


def test_parts_under_other_names_are_built_alone_in_lists_and_in_dicts(registry):
    registry.register_module(module=Collection)
    part, loss = dict(type="CosineSimilarity"), dict(type="TripletLoss", margin=0.3)
    built = registry.build(dict(type="Collection", main=part, others=dict(a=loss, b=[loss, None])))
    assert type(built.main).__name__ == "CosineSimilarity"
    assert built.others["a"].margin == built.others["b"][0].margin == 0.3
    assert built.others["b"][1] is None


def test_faults_of_parts_in_lists_and_dicts_have_the_whole_path(registry):
    registry.register_module(module=Collection)
    cfg = dict(type="Collection", main=dict(type="Cos"), others=dict(a=[dict(type="TripletLoss", marjin=1)]))
    first, second = registry.faults(cfg, "model.x", {})
    assert first.startswith('model.x.main.type: "Cos" is not a registered similarity')
    assert second.startswith("model.x.others.a[0].marjin: TripletLoss has no such argument")


def test_a_type_that_was_left_out_on_purpose_says_why(registry):
    registry.leave_out("Other", "it needs two views; take Holder")
    with pytest.raises(UnknownTypeError, match='"Other" is not a holder here: it needs two views; take Holder'):
        registry.get("Other")


def test_a_prefix_of_a_distribution_of_ours_says_what_to_install_unless_it_is_there(registry, monkeypatch):
    for kind in KINDS.values():
        kind.names()
        kept = {name: cls for name, cls in kind._module_dict.items() if not name.startswith("pml.")}
        monkeypatch.setattr(kind, "_module_dict", kept)
    with pytest.raises(UnknownTypeError, match=r"comes with the plug-in metricforge-pml.*pip install -e plugins/pml"):
        LOSSES.get("pml.AngularLoss")
    LOSSES._module_dict["pml.CircleLoss"] = Holder
    with pytest.raises(UnknownTypeError, match=r'"pml.CircelLoss" is not .* did you mean "pml.CircleLoss"'):
        LOSSES.get("pml.CircelLoss")


def test_a_name_of_another_kind_is_answered_with_that_kind():
    with pytest.raises(UnknownTypeError, match='"HardTripletMiner" is a miner, not a loss'):
        LOSSES.get("HardTripletMiner")


def test_the_many_names_of_one_plug_in_are_one_entry_of_what_is_known(registry):
    for number in range(40):
        registry.register_module(name=f"big.Loss{number}", module=type(f"Loss{number}", (), {}))
    registry.register_module(name="small.Loss", module=type("Loss", (), {}))
    with pytest.raises(UnknownTypeError) as caught:
        registry.get("big.Los7")
    assert str(caught.value) == (
        '"big.Los7" is not a registered holder; did you mean "big.Loss7"? '
        "(known: Holder, small.Loss, 40 big.* that `metricforge plugins --all` lists)"
    )


def test_a_value_that_contradicts_the_data_is_an_error(registry):
    with pytest.raises(ConfigError, match="num_classes: 7 contradicts 98"):
        registry.build(dict(type="Holder", similarity=None, num_classes=7), dim=4, num_classes=98)


def test_an_array_that_contradicts_the_data_is_an_error(registry):
    with pytest.raises(ConfigError, match=r"num_classes: \[1, 2\] contradicts array\(\[0, 1, 1\]\)"):
        registry.build(dict(type="Holder", similarity=None, num_classes=[1, 2]), dim=4, num_classes=np.array([0, 1, 1]))


def test_a_value_that_agrees_with_the_data_is_allowed(registry):
    assert registry.build(dict(type="Holder", similarity=None, num_classes=98), dim=4, num_classes=98).num_classes == 98


def test_a_missing_argument_is_named(registry):
    with pytest.raises(ConfigError, match="similarity: Holder needs this argument"):
        registry.build(dict(type="Holder"), dim=4)


@pytest.mark.parametrize("name", ["json", "os.system", "torch.nn.Linear", "", None])
def test_nothing_is_found_that_was_not_registered(name):
    with pytest.raises(UnknownTypeError):
        LOSSES.get(name)


def test_a_config_without_a_type_shows_what_one_looks_like():
    with pytest.raises(ConfigError, match="must be a dict with a type"):
        LOSSES.build(dict(margin=1))


def test_a_name_can_be_registered_once_only(monkeypatch):
    monkeypatch.setattr(LOSSES, "_module_dict", dict(LOSSES._module_dict))

    class TripletLoss(Loss):
        def forward(self, embeddings, labels, tuples=None, similarity=None):
            return LossOutput(embeddings.sum())

    LOSSES.names()
    with pytest.raises(RegistrationError, match="TripletLoss is already registered, by metricforge"):
        LOSSES.register_module(module=TripletLoss)


def test_arguments_passed_on_by_keywords_are_followed_up():
    class Base:
        def __init__(self, size: int, depth: int = 1) -> None: ...

    class Child(Base):
        def __init__(self, *args: object, colour: str = "red", **kwargs: object) -> None: ...

    assert set(accepted_arguments(Child)) == {"colour", "size", "depth"}


def test_every_kind_of_component_has_its_registry_and_a_class_in_a_file_of_its_name():
    import re
    from inspect import getfile
    from pathlib import Path

    for kind in set(KINDS) - {"transform"}:
        registry = KINDS[kind]
        assert registry.names()
        for name in registry.names():
            cls = registry.get(name)
            if cls.__module__.startswith("metricforge."):
                words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
                found = Path(getfile(cls)).stem
                assert found.replace("_", "") == words.replace("_", ""), f"{name} is in {found}.py"


def test_losses_and_miners_declare_what_they_take_and_give():
    for name in KINDS["miner"].names():
        assert isinstance(KINDS["miner"].get(name).yields, type)
    for name in LOSSES.names():
        assert issubclass(LOSSES.get(name), nn.Module)
        assert isinstance(LOSSES.get(name).accepts, tuple)


def test_components_in_a_list_under_their_kind_s_plural_are_built_and_a_fault_in_one_has_the_whole_path(registry):
    class Several:
        def __init__(self, evaluators: list[object], ks: list[int]) -> None:
            self.evaluators, self.ks = evaluators, ks

    registry.register_module(module=Several)
    good = dict(type="Several", evaluators=[dict(type="NMI"), dict(type="RecallAtK", ks=[3])], ks=[1])
    built = registry.build(good)
    assert [type(evaluator).__name__ for evaluator in built.evaluators] == ["NMI", "RecallAtK"]
    assert built.ks == [1]
    with pytest.raises(ConfigError, match=r"test\.evaluators\[1\]\.type: \"Recall\""):
        registry.build(good | dict(evaluators=[dict(type="NMI"), dict(type="Recall")]), path="test")


def test_what_concerns_two_arguments_is_told_once():
    class TwoGroups(BatchSampler):
        def __init__(self, labels, groups: int, images: int, *, seed=0, rank=0, world_size=1):
            super().__init__(labels, groups * images, seed=seed, rank=rank, world_size=world_size)
            raise ValueError("groups and images do not fit the labels")

        def __len__(self):
            return 1

        def global_batches(self, generator):
            yield from ()

    own = Registry("sampler", "metricforge.samplers")
    own.register_module(module=TwoGroups)
    with pytest.raises(ConfigError) as told:
        own.build(dict(type="TwoGroups", groups=2, images=3), labels=[0, 1])
    assert told.value.faults == ["sampler: groups and images do not fit the labels"]


@pytest.mark.parametrize("dim", [10**12, 2**70])
def test_a_size_that_no_machine_has_is_a_fault_of_one_line(dim):
    with pytest.raises(ConfigError) as refused:
        KINDS["head"].build(dict(type="EmbeddingHead", dim=dim), path="model.head", feature_dim=64)
    (fault,) = refused.value.faults
    assert fault.startswith("model.head: ")
    assert "\n" not in fault
    assert "does not fit into memory" in fault or "Overflow" in fault


def test_a_fault_does_not_bring_up_values_that_the_config_does_not_give():
    sampler = dict(type="ClassBalancedBatchSampler", classes_per_batch=100, samples_per_class=2)
    with pytest.raises(ConfigError) as refused:
        KINDS["sampler"].build(sampler, labels=[0, 0, 1, 1, 2, 2, 3, 3], seed=0, rank=0, world_size=1)
    (fault,) = refused.value.faults
    assert "classes_per_batch (100) is more than the 4 classes" in fault
