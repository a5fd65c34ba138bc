from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torch import nn

from metricforge import TaggedEmbeddings, evaluate_embeddings
from metricforge.__main__ import main
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import EmbeddingsError
from metricforge.index.frontier.choice import Choice
from metricforge.index.frontier.measuring import measure_frontier, score_of
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity

DRAWS = np.random.default_rng(0)
LABELS = np.arange(240) % 30  # eight images a class
EMBEDDINGS = (
    DRAWS.standard_normal((30, 16))[LABELS] * np.linspace(2, 0.2, 16) + DRAWS.standard_normal((240, 16))
).astype(np.float32)


def _by_name(frontier) -> dict[str, Choice]:
    return {choice.name: choice for choice in frontier.choices}


@pytest.mark.parametrize("score", ["recall@1", "map@r"])
@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
def test_flat_scores_in_every_space_are_those_of_an_evaluation(score, similarity):
    spaces = ["pca:4", "first:8"]
    found = _by_name(
        measure_frontier(EMBEDDINGS, LABELS, similarity, score=score, spaces=["all", *spaces], kinds=["flat"])
    )
    tagged = TaggedEmbeddings(EMBEDDINGS, LABELS)
    expected = evaluate_embeddings(tagged, scores=[score], similarity=similarity, spaces=spaces).scores
    assert found["all flat"].score == pytest.approx(expected[score])
    for space in spaces:
        assert found[f"{space} flat"].score == pytest.approx(expected[f"{space}/{score}"])


def test_map_at_r_of_a_hand_worked_case():
    labels, matches = np.array([0, 0, 0, 1, 1]), np.array([2, 2, 2, 1, 1])
    found = np.array([[0, 1, 3, 2], [3, 0, 2, 1], [4, 3, 2, -1]])  # of images 0, 1 and 2, themselves among them
    # image 0: right, wrong; image 1: wrong, right at rank 2; image 2: never
    np.testing.assert_allclose(score_of("map@r", np.array([0, 1, 2]), found, labels, matches), [1 / 2, 1 / 4, 0])
    np.testing.assert_allclose(score_of("recall@1", np.array([0, 1, 2]), found, labels, matches), [1, 0, 0])


def test_the_pareto_set_is_that_of_a_loop_and_its_figures_repeat():
    first, second = (measure_frontier(EMBEDDINGS, LABELS, CosineSimilarity()) for _ in range(2))
    for one in first.choices:
        better = [
            other
            for other in first.choices
            if other.score >= one.score
            and other.bytes_a_vector <= one.bytes_a_vector
            and other.milliseconds_a_query <= one.milliseconds_a_query
            and (other.score, other.bytes_a_vector, other.milliseconds_a_query)
            != (one.score, one.bytes_a_vector, one.milliseconds_a_query)
        ]
        assert one.pareto == (not better)
    figures = [[(each.name, each.score, each.effort) for each in found.choices] for found in (first, second)]
    assert figures[0] == figures[1]
    assert "ivfpq: it learns its codes from at least 1,000 images, and there are 240" in first.left_out


def test_bytes_are_what_a_vector_takes_and_refining_finds_what_comparing_all_finds():
    found = _by_name(measure_frontier(EMBEDDINGS, LABELS, CosineSimilarity(), spaces=["all", "pca:8"]))
    sizes = {name: found[f"all {name}"].bytes_a_vector for name in ("flat", "int8", "binary", "int8 refined")}
    assert sizes == {"flat": 64, "int8": 16, "binary": 2, "int8 refined": 80}
    assert found["pca:8 flat"].bytes_a_vector == 32
    assert found["all int8 refined"].score == found["all flat"].score
    assert found["all binary"].score < found["all flat"].score


def test_signs_are_searched_as_bits_alone():
    found = measure_frontier(EMBEDDINGS, LABELS, HammingSimilarity(), spaces=["all"])
    assert [choice.name for choice in found.choices] == ["all binary"]
    with pytest.raises(EmbeddingsError, match="--kinds flat: HammingSimilarity compares signs"):
        measure_frontier(EMBEDDINGS, LABELS, HammingSimilarity(), kinds=["flat"])


class _Learned(Similarity):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def pairwise(self, x, y):
        return self.layer(x) @ y.T


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(spaces=["pca:17"]), '--spaces: "pca:17" keeps 17 dimensions of 16'),
        (dict(spaces=["first:4+pca:8"]), "keeps 8 dimensions of 4"),
        (dict(spaces=["half"]), '"all" keeps the embeddings as they are'),
        (dict(spaces=["pca:8+int8"]), "int8 is one of --kinds here, not a space"),
        (dict(spaces=[]), "--spaces is empty"),
        (dict(kinds=["flat", "lsh"]), "--kinds must name some of flat, hnsw, .* got 'lsh'"),
        (dict(kinds=["ivfpq"]), "--kinds ivfpq: it learns its codes from at least 1,000 images, and there are 240"),
        (dict(kinds=["flat"], recall=0.9), "--recall 0.9 applies to hnsw, ivfint8 and ivfpq, but the kinds are flat"),
    ],
)
def test_what_cannot_take_effect_is_told(options, told):
    with pytest.raises(EmbeddingsError, match=told):
        measure_frontier(EMBEDDINGS, LABELS, CosineSimilarity(), **options)


def test_labels_and_similarities_that_allow_no_accuracy_are_told():
    with pytest.raises(EmbeddingsError, match="no class has two images"):
        measure_frontier(EMBEDDINGS, np.arange(240), CosineSimilarity())
    with pytest.raises(EmbeddingsError, match="1 images have no label"):
        measure_frontier(EMBEDDINGS, np.array([None, *LABELS[1:]], dtype=object), CosineSimilarity())
    with pytest.raises(EmbeddingsError, match="_Learned was trained on all dimensions"):
        measure_frontier(EMBEDDINGS, LABELS, _Learned())


def test_the_command_prints_writes_and_draws_it(pixel_model, photo_folder, tmp_path, capsys):
    bundle = pixel_model.save(tmp_path / "bundle")
    out = tmp_path / "out"
    main(["frontier", str(bundle), str(photo_folder), "--out", str(out), "--workers", "0", "--kinds", "flat,binary"])
    told = " ".join(capsys.readouterr().out.split())
    assert "80 queries among 80 images, each without itself" in told
    with (out / "frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    written = json.loads((out / "frontier.json").read_text())
    assert written["model"] == pixel_model.hash
    assert [row["kind"] for row in rows] == [choice["kind"] for choice in written["choices"]]
    assert {row["space"] for row in rows} == {"all", "pca:13", "pca:6", "first:13", "first:6"}
    assert all(0 <= float(row["recall@1"]) <= 1 and float(row["milliseconds_a_query"]) > 0 for row in rows)
    with Image.open(out / "frontier.png") as picture:
        assert picture.width > picture.height > 500


def test_embeddings_give_the_figures_of_their_images(pixel_model, photo_folder, tmp_path, capsys):
    bundle = pixel_model.save(tmp_path / "bundle")
    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors")
    options = ["--kinds", "flat,int8", "--out"]
    figures = []
    for source, out in ((photo_folder, tmp_path / "a"), (tmp_path / "vectors", tmp_path / "b")):
        main(["frontier", str(bundle), str(source), *options, str(out)])
        choices = json.loads((out / "frontier.json").read_text())["choices"]
        figures.append([{**choice, "milliseconds_a_query": 0, "pareto": True} for choice in choices])
    assert figures[0] == figures[1]
    assert not (tmp_path / "b" / "embeddings").exists()
    assert "80 with embeddings in" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--glob", "*.jpg"], "--glob selects images, and .* holds embeddings; leave --glob out"),
        (["--device", "cpu"], "--device embeds images, and .* holds embeddings"),
        (["--workers", "2"], "--workers reads images, and .* holds embeddings; leave --workers out"),
        (["--spaces", "pca:900"], "keeps 900 dimensions of"),
    ],
)
def test_the_command_refuses_what_embeddings_cannot_take(options, told, pixel_model, photo_folder, tmp_path, capsys):
    bundle = pixel_model.save(tmp_path / "bundle")
    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors")
    with pytest.raises(SystemExit):
        main(["frontier", str(bundle), str(tmp_path / "vectors"), *options])
    assert re.search(told, " ".join(capsys.readouterr().err.split()))


def test_the_command_refuses_embeddings_of_another_model_or_without_labels(pixel_model, photo_folder, tmp_path, capsys):
    embed_collection(pixel_model, open_collection(photo_folder / "class_0"), tmp_path / "vectors")
    elsewhere = replace(pixel_model.description, preprocessing=(dict(type="Resize", size=(3, 3)),))
    other = EmbeddingModel(pixel_model.learner, elsewhere, pixel_model.device, "elsewhere")
    for model, told in ((other, "holds embeddings of model"), (pixel_model, "the images have no labels")):
        bundle = model.save(tmp_path / model.hash)
        with pytest.raises(SystemExit):
            main(["frontier", str(bundle), str(tmp_path / "vectors")])
        assert told in " ".join(capsys.readouterr().err.split())


def test_embeddings_are_measured_without_importing_pytorch(pixel_model, photo_folder, tmp_path):
    bundle = pixel_model.save(tmp_path / "bundle")
    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors")
    program = "import sys; from metricforge.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    words = ["frontier", str(bundle), str(tmp_path / "vectors"), "--kinds", "flat", "--spaces", "all,pca:4"]
    words += ["--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


def test_the_command_refuses_images_without_labels_before_it_embeds(pixel_model, photo_folder, tmp_path, capsys):
    bundle = pixel_model.save(tmp_path / "bundle")
    with pytest.raises(SystemExit):
        main(["frontier", str(bundle), str(photo_folder / "class_0"), "--out", str(tmp_path / "out")])
    assert "the images have no labels, which accuracy needs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_parser_knows_the_scores():
    from metricforge.cli.parsers.frontier import SCORES as PARSED
    from metricforge.index.frontier.measuring import SCORES

    assert PARSED == SCORES
