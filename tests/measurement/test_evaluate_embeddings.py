from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from metricforge import TaggedEmbeddings, evaluate_embeddings
from metricforge.cli.main import main
from metricforge.clusterings import KMeans
from metricforge.errors import EmbeddingsError
from metricforge.measurement import build_evaluators

POINTS = np.array([[0.0], [1.0], [1.1], [5.0], [5.2], [9.0]], dtype=np.float32)
LABELS = np.array([0, 0, 1, 1, 1, 2])  # nearest: 1 hit, 2 miss, 1 miss, 4 hit, 3 hit; the last has no match
BROKEN = np.where(np.arange(6)[:, None] % 2, np.nan, POINTS)


def run(*arguments) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_scores_come_in_the_order_asked_for_and_are_those_worked_by_hand():
    found = evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), scores=["mrr", "recall@1"], similarity="euclidean")
    assert list(found.scores) == ["mrr", "recall@1"]
    assert found.scores["recall@1"] == pytest.approx(3 / 5)
    assert found.protocol["queries_without_match"] == 1


def test_labels_and_ids_of_text_and_embeddings_of_whole_numbers_score_the_same():
    numbers = evaluate_embeddings(TaggedEmbeddings(POINTS * 10, LABELS), similarity="euclidean")
    text = TaggedEmbeddings(
        np.rint(POINTS * 10).astype(np.int16), np.array(["ape", "bee", "cat"])[LABELS], np.array(list("uvwxyz"))
    )
    found = evaluate_embeddings(text, similarity="euclidean")
    assert found.scores == numbers.scores
    assert found.context.queries.class_names == ("ape", "bee", "cat")


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        (POINTS.tolist(), LABELS.tolist()),
        (POINTS, torch.tensor(LABELS, dtype=torch.int16)),
        (torch.tensor(POINTS, requires_grad=True), LABELS.tolist()),
        (torch.tensor(POINTS, dtype=torch.float64, requires_grad=True) * 1, [f"class {label}" for label in LABELS]),
        (list(torch.tensor(POINTS, requires_grad=True)), list(torch.tensor(LABELS))),
        (torch.tensor(POINTS * 10).round().to(torch.bfloat16), tuple(LABELS.tolist())),
        (
            torch.tensor(POINTS * 10).round().to(torch.uint8),
            np.array([f"class {label}" for label in LABELS], dtype=object),
        ),
        (torch.tensor(POINTS).T.contiguous().T, torch.tensor(LABELS)),
    ],
)
def test_lists_and_tensors_of_any_type_score_as_arrays_do(embeddings, labels):
    wanted = evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), similarity="euclidean").scores
    assert evaluate_embeddings(embeddings, labels, similarity="euclidean").scores == wanted
    tagged = TaggedEmbeddings(embeddings, labels, ids=[f"image {number}" for number in range(6)])
    assert evaluate_embeddings(tagged, similarity="euclidean").scores == wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_score_as_arrays_do():
    wanted = evaluate_embeddings(POINTS, LABELS, similarity="euclidean").scores
    half = torch.tensor(POINTS, device="cuda", requires_grad=True)
    assert evaluate_embeddings(half, torch.tensor(LABELS, device="cuda"), similarity="euclidean").scores == wanted


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((POINTS,), "labels are missing"),
        ((TaggedEmbeddings(POINTS, LABELS), LABELS), "labels must be left out where TaggedEmbeddings have them"),
        ((POINTS, TaggedEmbeddings(POINTS, LABELS)), "name them gallery="),
        ((POINTS, LABELS, POINTS), "gallery must be TaggedEmbeddings, got ndarray"),
        (([[0.0, 1.0], [2.0]], [0, 1]), "embeddings cannot be made an array .*every row must have as many numbers"),
        (([torch.zeros(2), torch.zeros(3)], [0, 1]), r"of one shape, got tensors of \(2,\) and \(3,\)"),
        ((torch.eye(3).to_sparse(), [0, 1, 1]), r"got a tensor of layout torch.sparse_coo; call .to_dense\(\)"),
        ((torch.empty(3, 2, device="meta"), [0, 1, 1]), "got a meta tensor"),
        ((torch.eye(3), torch.tensor([0.0, 1.0, 1.0])), "labels must be integers or text, got float32"),
        ((torch.eye(3), [[0], [1], [1]]), r"labels must be one for each of the 3 embeddings, got shape \(3, 1\)"),
        (("embeddings.npz", [0]), r"embeddings must be \(N, D\).*got shape \(\)"),
        ((torch.eye(2, dtype=torch.complex64), [0, 0]), "must be floats or integers, got complex64"),
    ],
)
def test_what_is_no_embeddings_and_labels_is_named(arguments, says):
    with pytest.raises(EmbeddingsError, match=says):
        evaluate_embeddings(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(similarity=dict(type="CosineSimilarity")), r"similarity must be .* or a Similarity, got \{'type'"),
        (dict(similarity=None), "similarity must be .* got None"),
        (dict(clustering=dict(type="KMeans")), r"clustering must be .* or a Clustering, got \{'type': 'KMeans'\}"),
        (dict(scores=None), r'scores must be a list of names, such as \["recall@1"\], got None'),
        (dict(scores="recall@1"), "scores must be a list of names, .* got 'recall@1'"),
        (dict(scores=[1]), r"scores must be a list of names, .* got \[1\]"),
        (dict(spaces="int8"), r"""spaces must be a list of names, such as \["pca:64"\], got 'int8'"""),
        (dict(seed=1.5), "seed must be an integer of at least 0, got 1.5"),
        (dict(seed=-1), "seed must be an integer of at least 0, got -1"),
    ],
)
def test_an_argument_of_another_type_is_named_with_what_it_must_be(arguments, says):
    with pytest.raises(EmbeddingsError, match=says):
        evaluate_embeddings(POINTS, LABELS, **arguments)


def test_a_query_that_stands_in_the_gallery_is_left_out_only_where_both_have_ids():
    ids = np.array([f"image {number}" for number in range(6)])
    images = TaggedEmbeddings(POINTS, LABELS, ids)
    by_id = evaluate_embeddings(
        images, gallery=TaggedEmbeddings(POINTS, LABELS, ids), scores=["recall@1"], similarity="euclidean"
    )
    assert by_id.scores == {"recall@1": pytest.approx(3 / 5)}
    without = evaluate_embeddings(
        images, gallery=TaggedEmbeddings(POINTS, LABELS), scores=["recall@1"], similarity="euclidean"
    )
    assert without.scores == {"recall@1": 1.0}
    assert without.protocol["self_exclusion"] == "none, queries and gallery are two sets"


def test_the_fingerprint_is_of_the_images_not_of_what_a_model_made_of_them():
    def fingerprint(*arguments) -> str:
        return evaluate_embeddings(TaggedEmbeddings(*arguments), scores=["nmi"]).protocol["dataset"]["fingerprint"]

    assert fingerprint(POINTS + 1, LABELS) == fingerprint(POINTS[::-1] + 1, LABELS)
    assert fingerprint(POINTS + 1, LABELS) != fingerprint(POINTS + 1, LABELS[::-1])
    assert fingerprint(POINTS + 1, LABELS) != fingerprint(POINTS + 1, LABELS, np.arange(6) + 1)


def test_a_k_beyond_the_gallery_other_dimensions_and_an_unknown_similarity_are_refused():
    images = TaggedEmbeddings(POINTS, LABELS)
    with pytest.raises(EmbeddingsError, match=r"at most 5.*leave out \[6\]"):
        evaluate_embeddings(images, scores=["recall@6"])
    with pytest.raises(EmbeddingsError, match="gallery has 2 dimensions and queries 1"):
        evaluate_embeddings(images, gallery=TaggedEmbeddings(np.ones((2, 2)), np.array([0, 1])))
    with pytest.raises(EmbeddingsError, match='one of cosine, euclidean, hamming, or a Similarity, got "dot"'):
        evaluate_embeddings(images, similarity="dot")
    with pytest.raises(EmbeddingsError, match="labels of queries and gallery must both be text"):
        evaluate_embeddings(images, gallery=TaggedEmbeddings(POINTS, LABELS.astype(str)))


def test_every_known_score_is_given_by_an_evaluator():
    names = [
        *("recall@1", "recall@4", "precision@2", "cmc@3", "ncm@1", "map@r", "r_precision", "map", "mrr"),
        *("nmi", "nmi_geometric", "ami", "f1", "roc_auc", "eer", "tar@far=0.01"),
    ]
    found = evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), scores=names, similarity="euclidean")
    assert list(found.scores) == names
    assert len(build_evaluators(names)) == 13


def test_the_command_prints_the_scores_says_what_it_left_out_and_writes_the_protocol(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS)
    options = ["--similarity", "euclidean", "--scores", "recall@1, map@r", "--json", tmp_path / "out" / "scores.json"]
    assert run("evaluate", tmp_path / "a.npz", *options) == 0
    out = capsys.readouterr().out
    for words in ("6 queries of 3 classes", "60.0", "1 queries have no other image", "1 classes: 2"):
        assert words in out
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(written["scores"]) == ["recall@1", "map@r"]
    assert written["protocol"]["similarity"]["type"] == "EuclideanSimilarity"


def test_the_command_ends_with_an_error_in_plain_words(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", embeddings=BROKEN, labels=LABELS)
    assert run("evaluate", tmp_path / "a.npz") == 1
    printed = capsys.readouterr()
    assert "3 of 6 embeddings are not finite (the first ids: 1, 3, 5)" in printed.err
    assert "Traceback" not in printed.err


def blobs(path, classes, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(classes, 10)
    kin = np.where(np.char.startswith(labels, "b"), 4.0, -4.0)[:, None]  # bear, bee and the rest
    embeddings = generator.normal(size=(len(labels), 6)) + np.concatenate([kin, np.zeros((len(labels), 5))], axis=1)
    np.savez(path, embeddings=embeddings.astype(np.float32), labels=labels)
    return path


def test_the_command_scores_unseen_classes_by_a_tree(tmp_path, capsys):
    seen = blobs(tmp_path / "seen.npz", ["bear", "cat"])
    unseen = blobs(tmp_path / "unseen.npz", ["bee", "cow"], seed=1)
    (tmp_path / "tree.csv").write_text("child,parent\nbear,b\nbee,b\ncat,c\ncow,c\nb,all\nc,all\n")
    scores = ("--scores", "zero_shot@1", "--tree", tmp_path / "tree.csv", "--similarity", "euclidean")
    assert run("evaluate", unseen, "--gallery", seen, *scores, "--json", tmp_path / "s.json") == 0
    assert json.loads((tmp_path / "s.json").read_text())["scores"] == {"zero_shot@1": 1.0}
    assert run("evaluate", unseen, "--gallery", seen, *scores[:3], tmp_path / "no.csv") == 1
    assert "no.csv; give a CSV file" in capsys.readouterr().err


@pytest.mark.parametrize(("scores", "tree"), [(["zero_shot@1"], None), (["recall@1"], "wordnet")])
def test_a_tree_and_the_score_that_reads_it_come_together(scores, tree):
    with pytest.raises(EmbeddingsError, match=f"got tree {tree} and scores {scores[0]}; give both .* or neither"):
        evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), scores=scores, tree=tree)


def test_the_command_clusters_as_it_is_told_and_says_where_the_number_is_not_reached(tmp_path, capsys):
    file = blobs(tmp_path / "e.npz", ["ant", "bear"])
    by_affinity = ("evaluate", file, "--scores", "nmi", "--similarity", "euclidean", "--clustering", "affinity")
    assert run(*by_affinity, "--json", tmp_path / "s.json") == 0
    assert "clusters where" not in capsys.readouterr().out
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["scores"]["nmi"] == pytest.approx(1.0)
    assert written["protocol"]["clustering"]["method"] == "affinity propagation"
    assert run(*by_affinity, "--affinity-neighbours", 2) == 0  # no cluster reaches further than two images
    assert "were wanted" in capsys.readouterr().out
    assert run("evaluate", file, "--scores", "nmi", "--affinity-neighbours", 2) == 1
    assert "add --clustering affinity" in capsys.readouterr().err


@pytest.mark.parametrize("clustering", ["affinity", KMeans(starts=3)])
def test_a_clustering_that_no_score_reads_is_refused(clustering):
    with pytest.raises(EmbeddingsError, match=r"got (AffinityPropagation|KMeans) and scores recall@1; add one of"):
        evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), scores=["recall@1"], clustering=clustering)


def test_scores_without_a_value_for_each_query_are_written_before_their_classes_are_refused(tmp_path, capsys):
    file = blobs(tmp_path / "e.npz", ["ant", "bear"])
    assert run("evaluate", file, "--scores", "nmi", "--classes", 2, "--json", tmp_path / "s.json") == 1
    assert "add recall@1 to --scores" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "s.json").read_text())["scores"]) == ["nmi"]


def test_an_unknown_clustering_is_refused_with_those_there_are():
    with pytest.raises(
        EmbeddingsError, match='clustering must be one of k-means, affinity, or a Clustering, got "dbscan"'
    ):
        evaluate_embeddings(TaggedEmbeddings(POINTS, LABELS), scores=["nmi"], clustering="dbscan")


def test_the_command_scores_in_smaller_spaces_too_and_names_their_bytes(tmp_path, capsys):
    file = blobs(tmp_path / "e.npz", ["ant", "bear"])
    asked = ("evaluate", file, "--scores", "recall@1", "--space", "first:3,pca:2+int8", "--json", tmp_path / "s.json")
    assert run(*asked) == 0
    out = "".join(capsys.readouterr().out.split())
    assert "first:3(12bytes)" in out
    assert "pca:2+int8(2bytes)" in out
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    assert list(scores) == ["recall@1", "first:3/recall@1", "pca:2+int8/recall@1"]
    first = np.load(file)["embeddings"][:, :3]
    alone = evaluate_embeddings(TaggedEmbeddings(first, np.load(file)["labels"]), scores=["recall@1"]).scores
    assert scores["first:3/recall@1"] == alone["recall@1"]
    assert run("evaluate", file, "--scores", "recall@1", "--space", "pca:2,pca:2") == 1
    assert "spaces must be distinct, got pca:2, pca:2" in capsys.readouterr().err


def test_spaces_may_be_fitted_on_a_file_of_its_own_which_compare_tells_apart(tmp_path, capsys):
    file, train = (
        blobs(tmp_path / "e.npz", ["ant", "bear"]),
        blobs(tmp_path / "train.npz", ["cat", "dog", "eel"], seed=1),
    )
    (tmp_path / "copy").mkdir()
    same = shutil.copy(train, tmp_path / "copy" / "renamed.npz")
    ask = ("evaluate", file, "--scores", "recall@1", "--space", "pca:1")
    for name, fit in (("own", ()), ("train", ("--fit-space", train)), ("renamed", ("--fit-space", same))):
        assert run(*ask, *fit, "--json", tmp_path / f"{name}.json") == 0
    scores = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("own", "train", "renamed")}
    assert "3" in scores["train"]["protocol"]["evaluators"][1]["fitted_on"]
    assert scores["train"]["protocol"]["evaluators"][1]["fitted_on_source"] == str(train)
    # by hand: the first direction of the training file's embeddings alone
    centred = np.load(train)["embeddings"].astype(np.float64)
    direction = np.linalg.svd(centred - centred.mean(axis=0))[2][0]
    along = ((np.load(file)["embeddings"] - centred.mean(axis=0)) @ direction)[:, None].astype(np.float32)
    expected = evaluate_embeddings(TaggedEmbeddings(along, np.load(file)["labels"]), scores=["recall@1"]).scores
    assert scores["train"]["scores"]["pca:1/recall@1"] == pytest.approx(expected["recall@1"])
    capsys.readouterr()
    assert run("compare", tmp_path / "own.json", tmp_path / "train.json") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "ScoresInSpace.fitted_on: own the gallery, train" in out
    assert run("compare", tmp_path / "train.json", tmp_path / "renamed.json") == 0
    assert "fitted_on" not in capsys.readouterr().out
    assert run("evaluate", file, "--fit-space", train) == 1
    assert "got" in (error := capsys.readouterr().err)
    assert "and no space; name some, such as pca:64" in error
