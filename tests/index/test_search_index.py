from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock
from PIL import Image
from pyarrow import parquet

import metricforge
from metricforge.cli.main import main
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import (
    DatasetError,
    EmbeddingsError,
    FilterError,
    IndexBusyError,
    IndexFileError,
    UnreadableImageError,
)
from metricforge.index import SearchIndex, build_index, snapshot
from metricforge.index.manifest import Manifest


def _vectors(paths: list[Path]) -> np.ndarray:
    """The pixels as the model scales them, in float64, of length 1."""
    rows = np.stack([np.asarray(Image.open(path), dtype=np.float64).transpose(2, 0, 1).reshape(-1) for path in paths])
    rows = (rows / 255 - 0.5) / 0.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def photos(photo_folder: Path) -> list[Path]:
    return sorted(photo_folder.rglob("*.png"))


def test_neighbours_are_those_of_a_loop_in_float64(index, photos):
    vectors = _vectors(photos)
    for query, hits in zip(range(0, 80, 9), index.search(photos[::9], k=7), strict=True):
        cosines = vectors @ vectors[query]
        order = np.argsort(-cosines, kind="stable")[:7]
        assert [hit.path for hit in hits] == [str(photos[place]) for place in order]
        assert [hit.label for hit in hits] == [photos[place].parent.name for place in order]
        np.testing.assert_allclose([hit.score for hit in hits], cosines[order], atol=1e-5)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "int8"])
def test_every_kind_finds_the_image_itself_and_tells_how_well_it_searches(
    pixel_model, photo_folder, photos, tmp_path, kind
):
    index = build_index(pixel_model, open_collection(photo_folder), tmp_path / kind, kind=kind)
    assert [hits[0].path for hits in index.search(photos, k=1)] == [str(photo) for photo in photos]
    measured = index.manifest.measured
    assert measured["recall@10"] >= 0.9
    assert measured["bytes_a_vector"] > 27
    assert SearchIndex(index.path).search(photos[3], k=1)[0][0].path == str(photos[3])


def test_an_index_is_opened_by_its_public_name_and_needs_no_model(built, photos):
    (hits,) = metricforge.load_index(built).search(str(photos[5]), k=1)
    assert (hits[0].path, hits[0].id) == (str(photos[5]), 5)


def test_it_searches_where_faiss_was_made_to_take_tensors_too(index, photos, monkeypatch):
    knn = faiss.knn

    def takes_plain_arrays_alone(xq, xb, k, **options):
        assert type(xq) is type(xb) is np.ndarray  # as faiss.contrib.torch_utils asks, or it takes them for tensors
        return knn(xq, xb, k, **options)

    monkeypatch.setattr(faiss, "knn", takes_plain_arrays_alone)
    assert index.search(photos[5], k=1)[0][0].id == 5


def test_more_than_there_are_gives_all(index, photos):
    assert len(index.search(photos[0], k=500)[0]) == 80


def test_a_filter_lets_through_what_fulfils_it(index, photos):
    (hits,) = index.search(photos[0], k=80, filter="label in ('class_2', 'class_5') and id % 2 = 0")
    right = [n for n, p in enumerate(photos) if p.parent.name in ("class_2", "class_5") and n % 2 == 0]
    assert sorted(hit.id for hit in hits) == right
    assert index.search(photos[0], filter="label = 'nothing'") == [[]]


@pytest.mark.parametrize("kind", ["hnsw", "int8"])
def test_a_filter_for_one_rare_image_finds_it_in_an_approximate_index(
    pixel_model, photo_folder, photos, tmp_path, kind
):
    index = build_index(pixel_model, open_collection(photo_folder), tmp_path / kind, kind=kind)
    for rare in (3, 40, 77):
        (hits,) = index.search(photos[0], k=5, filter=f"id = {rare}")
        assert [hit.id for hit in hits] == [rare]


@pytest.mark.parametrize(
    "condition", ["price < 5", "label = ", "1) union select 1", "label; drop table x", "", "id in (select * from x)"]
)
def test_a_filter_that_is_none_names_the_columns(index, photos, condition):
    with pytest.raises(FilterError, match=r"columns id \(int64\), path"):
        index.search(photos[0], filter=condition)


def test_a_filter_reads_no_file(index, photos, tmp_path):
    (tmp_path / "secret.csv").write_text("label\nclass_1\n")
    with pytest.raises(FilterError):
        index.search(photos[0], filter=f"label in (select label from '{tmp_path}/secret.csv')")


def test_images_are_added_replaced_and_removed(index, photos, tmp_path):
    new = tmp_path / "new.png"
    Image.fromarray(np.full((3, 3, 3), 9, dtype=np.uint8)).save(new)
    assert index.add([new]) == [80]
    assert index.search(new, k=1)[0][0].id == 80
    changed = shutil.copy(photos[7], new)
    assert index.add([changed]) == [80]  # the same place, so the same id
    assert len(index) == 81
    assert {hit.id for hit in index.search(photos[7], k=2)[0]} == {7, 80}
    assert index.add([photos[7]]) == [7]
    assert index.search_by_id(80, k=1)[0].label == photos[7].parent.name  # a list says no label, so it stays
    assert index.remove(ids=[7], paths=[str(new)]) == 2
    assert 7 not in {hit.id for hit in index.search(photos[7], k=80)[0]}
    assert index.remove(filter="label = 'class_0'") == 9
    assert len(index) == 70
    index.compact()
    assert len(index) == 70
    assert len(index.manifest.segments) == 1
    assert {hit.label for hit in index.search(photos[0], k=80)[0]} == {f"class_{n}" for n in range(1, 8)}
    assert index.add([new]) == [81]  # an id is given once


def test_an_image_is_one_however_it_is_named(pixel_model, photos, tmp_path, monkeypatch):
    folder = photos[0].parent.parent
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    relative = os.path.relpath(folder)
    assert relative.startswith("..")
    index = build_index(pixel_model, open_collection(relative), tmp_path / "index")
    assert index.snapshot().table()["path"].to_pylist() == list(map(str, photos))
    assert index.add([os.path.relpath(photos[3])]) == [3]
    assert len(index) == 80
    assert index.remove(paths=[os.path.relpath(photos[0])]) == 1


def test_the_command_shows_labels_to_their_ends(pixel_model, photos, tmp_path, capsys):
    for name in ("a car of the year 2012, " * 4, "another"):
        (tmp_path / "cars" / name).mkdir(parents=True)
        shutil.copy(photos[0], tmp_path / "cars" / name / "1.png")
    index = build_index(pixel_model, open_collection(tmp_path / "cars"), tmp_path / "index")
    main(["search", str(index.path), str(photos[0])])
    told = capsys.readouterr().out
    assert "another" in told
    assert "…" not in told


def test_a_path_that_an_index_holds_twice_is_replaced_and_removed_as_one(pixel_model, photos, tmp_path, capsys):
    folder = photos[0].parents[1]
    lines = [str(photos[0]), f"{folder}/./{photos[0].relative_to(folder)}", str(photos[1])]  # as find prints them
    index = build_index(pixel_model, open_collection("-", lines=lines), tmp_path / "index")
    main(["index", "add", str(index.path), *_listed(tmp_path, [photos[0], photos[2]])])
    assert "1 images added, 1 replaced; 3 in" in " ".join(capsys.readouterr().out.split())
    assert index.search(photos[0], k=3)[0][0].id == 0
    again = build_index(pixel_model, open_collection("-", lines=lines), tmp_path / "again")
    assert again.remove(paths=[str(photos[0])]) == 2
    assert len(again) == 1


def _listed(folder: Path, photos: list[Path]) -> list[str]:
    (folder / "list.csv").write_text("\n".join(["path", *map(str, photos)]))
    return [str(folder / "list.csv")]


def test_a_header_of_an_array_that_does_not_end_is_an_error_of_the_index(index):
    file = next(index.path.rglob("vectors.npy"))
    content = file.read_bytes()
    file.write_bytes(content.replace(b")", b" ", 1).replace(b"}", b" ", 1))
    with pytest.raises(IndexFileError, match=r"is damaged .*; build the index again"):
        SearchIndex(index.path)


def test_what_cannot_be_changed_changes_nothing(index, photos, tmp_path):
    before = index.manifest
    with pytest.raises(EmbeddingsError, match=r"has no image with the id 99, .*absent\.png; nothing was removed"):
        index.remove(ids=[3, 99], paths=["absent.png"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        index.add([photos[0], tmp_path / "broken.png"])
    with pytest.raises(EmbeddingsError, match="listed more than once"):
        index.add([photos[0], photos[0]])
    assert index.manifest == before


def test_one_writer_at_a_time_and_readers_go_on(index, photos):
    with FileLock(index.path / ".lock"):
        with pytest.raises(IndexBusyError, match="another process is changing the index"):
            SearchIndex(index.path).remove(ids=[1])
        assert index.search(photos[0], k=1)[0][0].id == 0


def test_a_reader_sees_what_another_process_changed(index, photos):
    reader = SearchIndex(index.path)
    reader.search(photos[0], k=1)
    index.remove(ids=[0])
    assert reader.search(photos[0], k=1)[0][0].id != 0


def test_a_search_goes_on_where_a_writer_removes_the_list_of_removed_images_that_it_is_about_to_read(
    index, photos, monkeypatch
):
    index.remove(ids=[0])
    read, waiting = snapshot.stored_arrays, [index]

    def read_after_a_writer(path):
        if waiting:
            writer = waiting.pop()
            writer.compact()
            writer.remove(ids=[1])  # the files of the last state but one are cleared away
        return read(path)

    monkeypatch.setattr(snapshot, "stored_arrays", read_after_a_writer)
    assert SearchIndex(index.path).search(photos[9], k=1)[0][0].id == 9
    assert not waiting


def test_searches_go_on_while_images_come_and_go(index, photos):
    stop = threading.Event()
    faults: list[BaseException] = []

    def read() -> None:
        reader = SearchIndex(index.path)
        while not stop.is_set():
            try:
                assert reader.search(photos[9], k=1)[0][0].id == 9
            except BaseException as fault:
                faults.append(fault)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        (added,) = index.add([photos[20]])
        index.remove(ids=[added])
        index.add([photos[20]])
        index.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults


def test_vectors_of_another_model_are_refused(index, pixel_model, trained_elsewhere):
    with pytest.raises(EmbeddingsError, match="was built with model"):
        SearchIndex(index.path, trained_elsewhere)
    with pytest.raises(ValueError, match=r"embeddings must be \(N, 27\)"):
        index.search(np.zeros((1, 8), dtype=np.float32))


@pytest.fixture
def trained_elsewhere(pixel_model):
    from dataclasses import replace

    from metricforge.deployment import EmbeddingModel

    other = replace(pixel_model.description, preprocessing=(dict(type="Resize", size=(3, 3)),))
    return EmbeddingModel(pixel_model.learner, other, pixel_model.device, "elsewhere")


def test_an_image_of_the_index_is_searched_with_by_its_id(index, photos):
    expected = [hit.id for hit in index.search(photos[4], k=6)[0] if hit.id != 4]
    assert [hit.id for hit in index.search_by_id(4, k=5)] == expected
    with pytest.raises(EmbeddingsError, match="no image with the id 999"):
        index.search_by_id(999)


def test_images_of_tar_shards_are_found_from_any_folder(pixel_model, photos, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with tarfile.open("a.tar", "w") as shard:
        for photo in photos[:3]:
            shard.add(photo, photo.name)
    with tarfile.open("a.tar") as shard:
        parts = [f"a.tar@{each.offset_data}+{each.size}/{each.name}" for each in shard.getmembers()]
    Path("photos.csv").write_text("\n".join(["path", *parts]))
    index = build_index(pixel_model, open_collection("photos.csv"), tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    for place, part in enumerate(parts):
        (hit,) = index.search(photos[place], k=1)[0]
        assert hit.path == f"{tmp_path}/here/{part}"
        assert ShardReader("").read(ShardPart.parse(hit.path)) == photos[place].read_bytes()


def test_what_is_no_index_is_told(tmp_path, built):
    with pytest.raises(IndexFileError, match="is not an index"):
        SearchIndex(tmp_path)
    shutil.copytree(built, tmp_path / "damaged")
    (tmp_path / "damaged" / "index.json").write_text("{")
    with pytest.raises(IndexFileError, match="cannot be read"):
        SearchIndex(tmp_path / "damaged")


def test_codes_are_not_learned_from_a_handful_of_images(pixel_model, photo_folder, tmp_path):
    with pytest.raises(EmbeddingsError, match="kind ivfpq needs at least 1,000 images to learn its codes from, got 80"):
        build_index(pixel_model, open_collection(photo_folder), tmp_path / "index", kind="ivfpq")


def test_no_index_is_built_over_another(built, pixel_model, photo_folder):
    with pytest.raises(EmbeddingsError, match="is already an index"):
        build_index(pixel_model, open_collection(photo_folder), built)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_a_k_that_is_none_is_refused(index, photos, k):
    with pytest.raises(ValueError, match="k must be a whole number >= 1"):
        index.search(photos[0], k=k)


def test_a_k_of_numpy_is_a_whole_number(index, photos):
    assert index.search(photos[0], k=np.int64(3)) == index.search(photos[0], k=3)
    assert index.search_by_id(4, k=np.int64(3)) == index.search_by_id(4, k=3)


def test_images_are_added_and_removed_by_any_kind_of_path(index, photos):
    assert index.add(path for path in (photos[3], str(photos[5]))) == [3, 5]
    assert index.remove(paths=[photos[3], str(photos[5])]) == 2


def test_an_index_of_categories_takes_images_of_a_folder_and_is_compacted(pixel_model, photo_folder, photos, tmp_path):
    categories = {"label": ["class_0", "class_1"], "kind": ["shoe", "boot"]}
    columns = {name: pa.array(values).dictionary_encode() for name, values in categories.items()}
    parquet.write_table(pa.table({"path": list(map(str, photos[:2])), **columns}), tmp_path / "table.parquet")
    index = build_index(pixel_model, open_collection(tmp_path / "table.parquet"), tmp_path / "categories")
    index.add(photo_folder)
    index.compact()
    assert [hit.metadata["kind"] for hits in index.search(photos[:3], k=1) for hit in hits] == ["shoe", "boot", None]


def test_a_list_of_no_paths_is_told(index):
    with pytest.raises(DatasetError, match="the list of paths has no images"):
        index.add([])
    with pytest.raises(TypeError, match="object, not Image"):
        index.add([Image.new("RGB", (3, 3))])


PROGRAM = """
import sys
from metricforge.index import SearchIndex
index = SearchIndex(sys.argv[1])
index.model
print("ready", flush=True)
while True:
    index.remove(paths=[sys.argv[2]])
    index.add([sys.argv[2]])
    index.compact()
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_any_change_it_is_the_old_or_the_new_index(index, photos):
    draws = np.random.default_rng(0)
    command = [sys.executable, "-c", PROGRAM, str(index.path), str(photos[6])]
    for _ in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(draws.uniform(0.0, 0.3)))
            process.send_signal(signal.SIGKILL)
        found = SearchIndex(index.path)
        assert len(found) in (79, 80)
        assert found.search(photos[5], k=1)[0][0].id == 5
        if len(found) == 79:
            found.add([photos[6]])
    before = Manifest.read(index.path).segments
    index.compact()
    left = {folder.name for folder in (index.path / "segments").iterdir()}
    assert left == {*before, *Manifest.read(index.path).segments}, "in use, and of the state before"


def test_an_index_that_the_disk_does_not_let_change_is_searched_and_says_so(index, monkeypatch):
    def refuse(*given, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("metricforge.index.writing.atomic_write", refuse)
    with pytest.raises(IndexFileError, match="cannot be changed and is as before \\(Read-only file system\\)"):
        index.remove([3])
    assert index.search(index.vector(3)[None], k=1)[0][0].id == 3


def test_a_damaged_structure_is_told_as_such(pixel_model, photo_folder, tmp_path):
    index = build_index(pixel_model, open_collection(photo_folder), tmp_path / "index", kind="hnsw")
    (structure,) = index.path.glob("segments/*/structure.faiss")
    for content in (structure.read_bytes()[:1000], b""):
        structure.write_bytes(content)
        with pytest.raises(IndexFileError, match=r"structure.faiss is damaged \(.*; build the index again"):
            SearchIndex(index.path).search(index.vector(3)[None], k=np.int64(2))
