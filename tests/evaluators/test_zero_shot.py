from __future__ import annotations

import numpy as np
import pytest

from metricforge import EVALUATORS
from metricforge.errors import ConfigError
from metricforge.evaluation import EvaluationContext, collect_query_scores, evaluate, run_evaluation
from metricforge.evaluators import ZeroShot
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

TREE = {
    "cat": "feline", "lion": "feline", "tiger": "feline", "wolf": "canine", "dog": "canine", "fox": "canine",
    "feline": "animal", "canine": "animal", "car": "machine", "bus": "machine", "animal": "thing", "machine": "thing",
}  # fmt: skip
NAMES = ("cat", "lion", "tiger", "wolf", "dog", "fox", "car", "bus")
UNSEEN = (2, 5, 7)


@pytest.fixture
def tree(tmp_path):
    file = tmp_path / "tree.csv"
    file.write_text("child,parent\n" + "".join(f"{child},{parent}\n" for child, parent in TREE.items()))
    return file


def images(seed: int = 0, spread: float = 1.0, names: tuple[str, ...] | None = NAMES):
    """Images near their class, which is near its kin; the classes seen are the gallery, all others the queries."""
    generator = np.random.default_rng(seed)
    kin = np.repeat(np.eye(3, 16), (3, 3, 2), axis=0) * 3  # feline, canine, machine
    centres = kin + generator.normal(size=(8, 16)) * 0.3
    labels = np.repeat(np.arange(8), 12)
    embeddings = (centres[labels] + generator.normal(size=(96, 16)) * spread).astype(np.float32)
    unseen = np.isin(labels, UNSEEN)
    return (
        EmbeddingSet(embeddings[unseen], labels[unseen], np.flatnonzero(unseen), names),
        EmbeddingSet(embeddings[~unseen], labels[~unseen], np.flatnonzero(~unseen), names),
    )


def prepared(kind: str, row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    if kind == "hamming":
        return np.sign((row > 0) - 0.5)
    return row / np.linalg.norm(row) if kind == "cosine" else row


def brute_force(queries: EmbeddingSet, gallery: EmbeddingSet, kind: str, nearest_only: bool) -> list[int]:
    """The rank of each query's class, from dictionaries and loops."""

    def above(name: str) -> list[str]:
        return [name, *above(TREE[name])] if name in TREE else [name]

    def score(x: np.ndarray, y: np.ndarray) -> float:
        if kind == "hamming":
            return -float(((x > 0) != (y > 0)).sum())
        return float(x @ y / np.linalg.norm(y)) if kind == "cosine" else -float(np.linalg.norm(x - y))

    seen: dict[str, np.ndarray] = {}
    for label in sorted(set(gallery.labels.tolist())):
        rows = [prepared(kind, row) for row in gallery.embeddings[gallery.labels == label]]
        seen[NAMES[label]] = np.mean(rows, axis=0)
    means: dict[int, np.ndarray] = {}
    for label in UNSEEN:
        of_nodes = []
        for node in above(NAMES[label]):
            below = [mean for name, mean in seen.items() if node in above(name)]
            if below:
                of_nodes.append(np.mean(below, axis=0))
        means[label] = of_nodes[0] if nearest_only else np.mean(of_nodes, axis=0)
    ranks = []
    for row, label in zip(queries.embeddings, queries.labels.tolist(), strict=True):
        scores = {c: round(score(prepared(kind, row), mean), 9) for c, mean in means.items()}
        ranks.append(1 + sum((scores[c], -c) > (scores[label], -label) for c in means))
    return ranks


SIMILARITIES = {"cosine": CosineSimilarity(), "euclidean": EuclideanSimilarity(), "hamming": HammingSimilarity()}


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("ancestors", ["all", "nearest"])
def test_it_equals_a_loop_over_the_tree(tree, kind, ancestors):
    queries, gallery = images(spread=2.0)
    context = EvaluationContext(queries, SIMILARITIES[kind], gallery)
    ranks = brute_force(queries, gallery, kind, ancestors == "nearest")
    expected = {f"zero_shot@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 2)}
    assert 0.3 < expected["zero_shot@1"] < 1
    assert ZeroShot(tree, ks=(1, 2), ancestors=ancestors).evaluate(context) == pytest.approx(expected, abs=1e-12)


def test_relatives_tell_more_than_chance_and_a_tree_of_strangers_does_not(tree, tmp_path):
    queries, gallery = images(spread=0.3)
    context = EvaluationContext(queries, EuclideanSimilarity(), gallery)
    assert ZeroShot(tree).evaluate(context)["zero_shot@1"] == 1.0
    flat = tmp_path / "flat.csv"
    flat.write_text("child,parent\n" + "".join(f"{name},thing\n" for name in NAMES))
    # every unseen class has the same mean, so all go to the smallest label
    assert ZeroShot(flat).evaluate(context)["zero_shot@1"] == pytest.approx(1 / 3)


def test_queries_of_seen_classes_are_left_out_and_counted(tree):
    queries, gallery = images()
    mixed = EmbeddingSet(
        np.concatenate([queries.embeddings, gallery.embeddings[:7]]),
        np.concatenate([queries.labels, gallery.labels[:7]]),
        class_names=NAMES,
    )
    evaluator = ZeroShot(tree)
    alone = EvaluationContext(queries, CosineSimilarity(), gallery)
    context = EvaluationContext(mixed, CosineSimilarity(), gallery)
    assert evaluator.evaluate(context) == evaluator.evaluate(alone)
    assert evaluator.counts(context) == {"classes_seen": 5, "classes_unseen": 3, "queries_of_seen_classes": 7}


def test_each_query_of_an_unseen_class_has_its_value_and_the_others_do_not_count(tree):
    queries, gallery = images(spread=2.0)
    mixed = EmbeddingSet(
        np.concatenate([gallery.embeddings[:7], queries.embeddings]),
        np.concatenate([gallery.labels[:7], queries.labels]),
        class_names=NAMES,
    )
    context = EvaluationContext(mixed, EuclideanSimilarity(), gallery)
    evaluator = ZeroShot(tree, ks=(1, 2))
    scores = evaluate(context, [evaluator])
    kept = collect_query_scores(run_evaluation(context, [evaluator]))
    ranks = brute_force(queries, gallery, "euclidean", nearest_only=False)
    for k in (1, 2):
        name = f"zero_shot@{k}"
        assert kept.counted_for(name).tolist() == [False] * 7 + [True] * 36
        assert kept.values[name][7:].tolist() == [rank <= k for rank in ranks]
        assert kept.mean(name) == pytest.approx(scores[name])


def test_one_set_has_no_unseen_class_and_is_refused_with_the_way_out(tree):
    queries, _ = images()
    with pytest.raises(ValueError, match="it has one of each; search images of unseen classes"):
        ZeroShot(tree).evaluate(EvaluationContext(queries, CosineSimilarity()))


def test_classes_that_the_tree_lacks_are_named(tree):
    queries, gallery = images(names=("cat", "lion", "tigress", "wolf", "dog", "vixen", "car", "bus"))
    with pytest.raises(ValueError, match=r"2 classes are not in the tree .*tree\.csv: tigress, vixen$"):
        ZeroShot(tree).evaluate(EvaluationContext(queries, CosineSimilarity(), gallery))


def test_numbers_are_names_where_classes_have_no_others(tmp_path):
    queries, gallery = images(names=None)
    file = tmp_path / "tree.csv"
    file.write_text("child,parent\n" + "".join(f"{c},{TREE[name]}\n" for c, name in enumerate(NAMES)))
    assert ZeroShot(file).evaluate(EvaluationContext(queries, CosineSimilarity(), gallery))["zero_shot@1"] > 0.5


def test_a_class_without_seen_relatives_is_named(tmp_path):
    queries, gallery = images()
    file = tmp_path / "tree.csv"
    file.write_text("child,parent\n" + "".join(f"{c},{p}\n" for c, p in TREE.items() if p != "thing"))
    alone = EmbeddingSet(gallery.embeddings, np.where(gallery.labels == 6, 0, gallery.labels), class_names=NAMES)
    with pytest.raises(ValueError, match=r'no ancestor of class "bus" in .*join the tree'):
        ZeroShot(file).evaluate(EvaluationContext(queries, CosineSimilarity(), alone))


def test_its_protocol_names_tree_and_rule(tree):
    assert ZeroShot(tree, ks=(5,)).protocol() == {"ks": [5], "tree": str(tree), "ancestors": "all"}


def test_a_config_with_a_tree_that_is_absent_says_so():
    with pytest.raises(ConfigError, match=r"there is no file missing\.csv"):
        EVALUATORS.build(dict(type="ZeroShot", tree="missing.csv"))


def test_another_rule_is_refused(tree):
    with pytest.raises(ValueError, match='ancestors must be "all" or "nearest", got \'parents\''):
        ZeroShot(tree, ancestors="parents")
