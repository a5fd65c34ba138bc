from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metricforge.deployment import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.stored_embeddings import StoredEmbeddings
from metricforge.errors import CheckpointError, EmbeddingsError
from metricforge.index import SearchIndex
from metricforge.index.indexed_model import IndexedModel, open_indexed_model

# What a program that imports PyTorch, or what is built on it, stumbles over.
BLOCK = """
import sys
for name in ("torch", "torchvision", "mmengine", "timm"):
    sys.modules[name] = None
"""


@pytest.fixture
def bundle(pixel_model: EmbeddingModel, tmp_path: Path) -> Path:
    return pixel_model.save(tmp_path / "bundle")


def test_a_folder_of_embeddings_is_indexed_searched_and_changed_without_pytorch(
    pixel_model, bundle, photo_folder, built, tmp_path
):
    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors")
    program = f"""{BLOCK}
import json, numpy
from metricforge import load_index
from metricforge.__main__ import main

bundle, vectors, out = sys.argv[1:]
main(["index", bundle, vectors, "--out", out])
index = load_index(out)
queries = numpy.stack([index.vector(7), index.vector(30)])
found = [[hit.id for hit in hits] for hits in index.search(queries, k=5)]
by_id = [hit.id for hit in index.search_by_id(7, k=4)]
main(["index", "remove", out, "--id", "3"])
main(["index", "compact", out])
main(["index", "status", out])
main(["duplicates", out, "--threshold", "0.99"])
print(json.dumps([found, by_id, len(index)]))
"""
    words = [str(bundle), str(tmp_path / "vectors"), str(tmp_path / "index")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, by_id, count = json.loads(done.stdout.splitlines()[-1])
    expected = SearchIndex(built, pixel_model).search(
        np.stack([SearchIndex(built).vector(each) for each in (7, 30)]), 5
    )
    assert found == [[hit.id for hit in hits] for hits in expected]
    assert by_id == found[0][1:]
    assert count == 79
    assert SearchIndex(tmp_path / "index").model.hash == pixel_model.hash


def test_a_bundle_is_described_as_its_model_is_and_verified(pixel_model, bundle):
    described, loaded = IndexedModel.of_bundle(bundle), IndexedModel.of(pixel_model)
    for name in ("name", "dim", "hash", "calibration"):
        assert getattr(described, name) == getattr(loaded, name)
    (bundle / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="was changed or damaged after the export"):
        IndexedModel.of_bundle(bundle)


@pytest.mark.slow  # the other process imports PyTorch
def test_a_fault_of_a_model_that_another_process_loads_is_raised_here(tmp_path):
    with pytest.raises(CheckpointError, match="absent"), open_indexed_model(tmp_path / "absent"):
        pass


def test_a_device_that_embeds_nothing_is_refused(pixel_model, bundle, photo_folder, tmp_path, capsys):
    from metricforge.cli.main import main

    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors")
    with pytest.raises(SystemExit):
        main(["index", str(bundle), str(tmp_path / "vectors"), "--out", str(tmp_path / "index"), "--device", "cpu"])
    assert "--device embeds images, and" in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
    assert len(StoredEmbeddings(tmp_path / "vectors")) == 80


def test_embeddings_that_are_not_finite_are_refused(index):
    queries = np.zeros((3, 27), dtype=np.float32)
    queries[1, 4] = np.nan
    with pytest.raises(ValueError, match="embeddings must be finite, but row 1 of 3 is not"):
        index.search(queries)
    with pytest.raises(ValueError, match="embeddings must be finite, but row 0 of 1 is not"):
        index.search(np.full((1, 27), 1e300))
    with pytest.raises(EmbeddingsError, match="no image with the id 80"):
        index.vector(80)
