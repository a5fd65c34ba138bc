from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from datetime import date, datetime, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from metricforge.__main__ import main
from metricforge.backbones import RawPixels
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import EmbeddingsError
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex, build_index
from metricforge.index.databases import export_index
from metricforge.models import MetricLearner
from metricforge.similarities import EuclideanSimilarity, HammingSimilarity

QUERIES = (0, 11, 42, 79)
STRANGE = "a\tb\\c\nd 'e' \"f\" é"


def _model(similarity) -> EmbeddingModel:
    described = dict(
        backbone=dict(type="RawPixels", height=3, width=3),
        head=dict(type="EmbeddingHead", l2_normalize=False),
        similarity=dict(type=type(similarity).__name__),
    )
    parts = RawPixels(height=3, width=3), EmbeddingHead(feature_dim=27, l2_normalize=False), similarity
    description = ModelDescription(architecture=described, preprocessing=())
    return EmbeddingModel(MetricLearner(*parts), description, torch.device("cpu"), "here")


@pytest.fixture(scope="session", params=["cosine", "euclidean"])
def priced(request, pixel_model, photo_folder, tmp_path_factory) -> Path:
    """An index with columns of several types, of which images were removed and added."""
    folder = tmp_path_factory.mktemp(f"priced_{request.param}")
    paths = sorted(map(str, photo_folder.rglob("*.png")))
    table = pa.table(
        {
            "path": paths,
            "label": [Path(path).parent.name for path in paths],
            "price": [None if number == 3 else number / 4 for number in range(80)],
            "seen": [date(2026, 1, 1 + number % 28) for number in range(80)],
            "sold": [number % 2 == 0 for number in range(80)],
            'odd "name"': [STRANGE] * 80,
        }
    )
    parquet.write_table(table, folder / "table.parquet")
    model = pixel_model if request.param == "cosine" else _model(EuclideanSimilarity())
    index = build_index(model, open_collection(folder / "table.parquet"), folder / "index")
    index.remove(ids=[5, 6])
    shutil.copy(paths[5], folder / "again.png")
    index.add([folder / "again.png"])
    return index.path


def _expected(index: SearchIndex, image: int) -> tuple[list[int], list[float]]:
    hits = index.search(index.vector(image)[None], k=8, exact=True)[0]
    return [hit.id for hit in hits], [hit.score for hit in hits]


def test_qdrant_finds_the_same_neighbours_and_keeps_columns_and_model(priced, tmp_path):
    client_of = pytest.importorskip("qdrant_client", reason="needs the extra qdrant").QdrantClient
    index = SearchIndex(priced)
    done = export_index(index, "qdrant", tmp_path / "out")
    client = client_of(path=str(tmp_path / "out"))
    try:
        assert client.count("images").count == done.images == 79
        assert client.get_collection("images").config.metadata["metricforge_model"] == index.manifest.model_hash
        for image in QUERIES:
            found = client.query_points("images", query=index.vector(image).tolist(), limit=8).points
            ids, scores = _expected(index, image)
            assert [point.id for point in found] == ids
            sign = -1 if done.distance == "l2" else 1
            np.testing.assert_allclose([sign * point.score for point in found], scores, atol=1e-4)
        (first,) = client.retrieve("images", [7])
        assert first.payload["price"] == 1.75
        assert (first.payload["seen"], first.payload["sold"]) == ("2026-01-08", False)
        assert first.payload['odd "name"'] == STRANGE
    finally:
        client.close()


def test_lancedb_finds_the_same_neighbours_and_keeps_columns_and_model(priced, tmp_path):
    lancedb = pytest.importorskip("lancedb", reason="needs the extra lancedb")
    index = SearchIndex(priced)
    done = export_index(index, "lancedb", tmp_path / "out", name="shoes")
    table = lancedb.connect(str(tmp_path / "out")).open_table("shoes")
    assert table.count_rows() == done.images == 79
    about = json.loads(table.schema.metadata[b"metricforge"])
    assert (about["metricforge_model"], about["distance"]) == (index.manifest.model_hash, done.distance)
    for image in QUERIES:
        found = table.search(index.vector(image)).distance_type(done.distance).limit(8).to_arrow()
        assert found["id"].to_pylist() == _expected(index, image)[0]
    rows = {row["id"]: row for row in table.to_arrow().to_pylist()}
    assert (rows[7]["price"], rows[7]["seen"], rows[7]["sold"]) == (1.75, date(2026, 1, 8), False)
    assert rows[3]["price"] is None
    assert rows[80]["label"] is None
    np.testing.assert_array_equal(rows[7]["vector"], index.vector(7))


ODD = {
    "tags": ["a", 'b\t"\\'],
    "box": {"x": 1, "seen": [datetime(2026, 1, 2, 3, 4, 5)]},
    "raw": b"\x00\xff",
    "opens": time(9, 30),
    "kind": "shoe",
    "nothing": None,
}


@pytest.fixture(scope="session")
def odd(pixel_model, photo_folder, tmp_path_factory) -> SearchIndex:
    """An index of four images whose columns are of lists, structs, bytes and dictionaries, the second row empty."""
    folder = tmp_path_factory.mktemp("odd")
    paths = sorted(map(str, photo_folder.rglob("*.png")))[:4]
    columns = {name: pa.array([value, None, value, value]) for name, value in ODD.items()}
    columns["kind"] = columns["kind"].dictionary_encode()
    in_nanoseconds = pa.struct([("x", pa.int64()), ("seen", pa.list_(pa.timestamp("ns")))])
    columns["box"] = columns["box"].cast(in_nanoseconds)
    parquet.write_table(pa.table({"path": paths, **columns}), folder / "table.parquet")
    return build_index(pixel_model, open_collection(folder / "table.parquet"), folder / "index")


def test_qdrant_keeps_lists_and_structs(odd, tmp_path):
    client_of = pytest.importorskip("qdrant_client", reason="needs the extra qdrant").QdrantClient
    export_index(odd, "qdrant", tmp_path / "out")
    client = client_of(path=str(tmp_path / "out"))
    try:
        (point,) = client.retrieve("images", [0])
        assert (point.payload["tags"], point.payload["kind"]) == (ODD["tags"], "shoe")
        assert point.payload["box"] == {"x": 1, "seen": ["2026-01-02 03:04:05"]}
    finally:
        client.close()


def test_lancedb_keeps_the_types_of_lists_and_structs(odd, tmp_path):
    lancedb = pytest.importorskip("lancedb", reason="needs the extra lancedb")
    export_index(odd, "lancedb", tmp_path / "out")
    rows = lancedb.connect(str(tmp_path / "out")).open_table("images").to_arrow().sort_by("id").to_pylist()
    assert {name: rows[0][name] for name in ODD} == ODD
    assert all(rows[1][name] is None for name in ODD)


@pytest.mark.parametrize("kind", [pa.list_view(pa.int64()), pa.struct([("x", pa.decimal32(5, 2))])])
def test_a_type_that_lancedb_has_not_is_told_with_its_column(kind, pixel_model, photo_folder, tmp_path):
    pytest.importorskip("lancedb", reason="needs the extra lancedb")
    paths = sorted(map(str, photo_folder.rglob("*.png")))[:2]
    parquet.write_table(pa.table({"path": paths, "sizes": pa.nulls(2, kind)}), tmp_path / "table.parquet")
    index = build_index(pixel_model, open_collection(tmp_path / "table.parquet"), tmp_path / "index")
    with pytest.raises(EmbeddingsError, match=r"LanceDB has no type for column sizes \(.*\); convert it"):
        export_index(index, "lancedb", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_postgres_gets_lists_and_structs_as_json_and_bytes_as_they_are(odd, tmp_path, postgres):
    export_index(odd, "pgvector", tmp_path / "odd.sql", name="odd")
    sql = (tmp_path / "odd.sql").read_text()
    postgres(sql if postgres.has_pgvector else sql.replace("CREATE EXTENSION IF NOT EXISTS vector;\n", ""))
    assert json.loads(postgres("SELECT tags FROM odd WHERE id = 0")) == ODD["tags"]
    assert postgres("SELECT box->'seen'->>0 FROM odd WHERE box->>'x' = '1' LIMIT 1") == "2026-01-02 03:04:05"
    assert postgres("SELECT encode(raw, 'hex') FROM odd WHERE opens = '09:30' AND kind = 'shoe' LIMIT 1") == "00ff"
    assert (
        postgres(f"SELECT count(*) FROM odd WHERE coalesce({', '.join(f'{name}::text' for name in ODD)}) IS NULL")
        == "1"
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Runs SQL in a PostgreSQL of its own, with a stand-in for pgvector where that is not installed."""
    found = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1:]), None)
    if found is None or shutil.which("psql") is None:
        pytest.skip("needs PostgreSQL (initdb, psql)")
    programs = Path(found).resolve().parent
    folder = tmp_path_factory.mktemp("postgres")
    options = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        try:
            user = pwd.getpwnam("nobody")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user nobody")
        options = {"user": user.pw_uid, "group": user.pw_gid}
        folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/metricforge-postgres-XXXXXX"], text=True).strip())
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "cwd": "/", **options}
    subprocess.run([found, "-D", data, "-U", "tester", "-A", "trust", "-N"], check=True, **quiet)
    settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run(
        [programs / "pg_ctl", "-D", data, "-o", settings, "-l", folder / "log", "-w", "start"], check=True, **quiet
    )

    def run(sql: str) -> str:
        command = ["psql", "-h", str(folder), "-U", "tester", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(command, input=sql, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run.has_pgvector = run("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") != "0"
    if not run.has_pgvector:
        run((Path(__file__).parent / "stand_in_for_pgvector.sql").read_text())
    yield run
    subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **quiet)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_postgres_loads_the_sql_and_finds_the_same_neighbours(priced, tmp_path, postgres):
    index = SearchIndex(priced)
    done = export_index(index, "pgvector", tmp_path / "images.sql", name=f"of_{priced.parent.name}")
    table, operator = f'"{done.name}"', {"cosine": "<=>", "l2": "<->"}[done.distance]
    sql = (tmp_path / "images.sql").read_text()
    extension = "CREATE EXTENSION IF NOT EXISTS vector;\n"
    assert extension in sql
    postgres(sql if postgres.has_pgvector else sql.replace(extension, ""))
    assert postgres(f"SELECT count(*) FROM {table}") == "79"
    about = json.loads(postgres(f"SELECT obj_description('{table}'::regclass)"))
    assert about["metricforge_model"] == index.manifest.model_hash
    for image in QUERIES:
        vector = "[" + ",".join(map(str, index.vector(image))) + "]"
        found = postgres(f"SELECT id FROM {table} ORDER BY vector {operator} '{vector}' LIMIT 8")
        assert [int(line) for line in found.splitlines()] == _expected(index, image)[0]
    row = json.loads(postgres(f"SELECT row_to_json(images) FROM (SELECT * FROM {table} WHERE id = 7) AS images"))
    assert (row["price"], row["seen"], row["sold"], row['odd "name"']) == (1.75, "2026-01-08", False, STRANGE)
    assert postgres(f"SELECT count(*) FROM {table} WHERE price IS NULL AND id IN (3, 80)") == "2"
    assert "hnsw" in postgres(f"SELECT indexdef FROM pg_indexes WHERE tablename = '{done.name}'")


def test_the_command_says_how_to_search(built, tmp_path, capsys):
    main(["index", "export", str(built), "--to", "pgvector", "--out", str(tmp_path / "images.sql")])
    told = " ".join(capsys.readouterr().out.split())
    assert "80 images of" in told
    assert "ORDER BY \"vector\" <=> '[...]' LIMIT 10" in told
    lines = (tmp_path / "images.sql").read_text().splitlines()
    assert sum(line.endswith("]") and "\t[" in line for line in lines) == 80


def test_nothing_is_written_over_and_what_cannot_be_is_told_before_anything_is(built, index, tmp_path):
    opened = SearchIndex(built)
    (tmp_path / "there").mkdir()
    with pytest.raises(EmbeddingsError, match="there already exists and is not overwritten"):
        export_index(opened, "pgvector", tmp_path / "there")
    with pytest.raises(EmbeddingsError, match="--name must have at most 63 letters"):
        export_index(opened, "pgvector", tmp_path / "new", name="a b")
    with pytest.raises(EmbeddingsError, match="--to must be one of qdrant, lancedb, pgvector, got 'milvus'"):
        export_index(opened, "milvus", tmp_path / "new")
    index.remove(filter="true")
    with pytest.raises(EmbeddingsError, match="has no images to export"):
        export_index(index, "pgvector", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_no_database_compares_is_told(photo_folder, tmp_path):
    index = build_index(_model(HammingSimilarity()), open_collection(photo_folder), tmp_path / "index")
    with pytest.raises(EmbeddingsError, match="compares by HammingSimilarity, but vector databases only by cosine"):
        export_index(index, "pgvector", tmp_path / "out.sql")


@pytest.mark.parametrize("note", [["fine", "a\0b"], [["fine"], ["fine", "a\0b"]], [{"x": "fine"}, {"x": "a\0b"}]])
def test_a_zero_byte_is_told_and_leaves_nothing(note, pixel_model, photo_folder, tmp_path):
    paths = sorted(map(str, photo_folder.rglob("*.png")))[:2]
    parquet.write_table(pa.table({"path": paths, "note": note}), tmp_path / "table.parquet")
    index = build_index(pixel_model, open_collection(tmp_path / "table.parquet"), tmp_path / "index")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(EmbeddingsError, match="cannot hold the zero byte in column 'note' of image 1"):
        export_index(index, "pgvector", tmp_path / "out.sql")
    assert sorted(tmp_path.iterdir()) == before


def test_the_parser_knows_the_databases():
    from metricforge.cli.parsers.index import TARGETS as PARSED
    from metricforge.index.databases import TARGETS

    assert PARSED == TARGETS
