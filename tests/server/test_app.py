"""Each route answers as the index does, and refuses with a reason."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from metricforge.calibration import Calibration
from metricforge.index import SearchIndex

TOKEN = "0123456789abcdef0123456789abcdef"


def test_a_search_with_an_image_finds_what_the_index_finds(client, built, png):
    answer = client.post("/search", files={"image": ("a.png", png(3))}, data={"k": 5})
    assert answer.status_code == 200
    hits = answer.json()["hits"]
    expected = SearchIndex(built).search(png(3), 5)[0]
    assert [(hit["id"], hit["label"]) for hit in hits] == [(hit.id, hit.label) for hit in expected]
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected])
    assert hits[0]["name"] == "class_3/03.png"
    assert hits[0]["score"] == pytest.approx(1)
    assert answer.json()["match"] is None, "the index is not calibrated"


def test_no_answer_names_a_folder_of_the_server(client, photo_folder):
    asked = [
        client.post("/search", json={"id": 3}),
        client.get("/health"),
        client.get("/metrics"),
        client.post("/search", json={"id": 3, "filter": "nothing = 1"}),
        client.post("/search", json={"id": 3, "filter": "path like '/tmp%'"}),
        client.get("/openapi.json"),
    ]
    for answer in asked:
        assert str(photo_folder.parent) not in answer.text
        assert "index" not in answer.headers
    assert [answer.status_code for answer in asked] == [200, 200, 200, 422, 422, 200]


def test_a_search_by_id_leaves_the_image_itself_out(client, built):
    hits = client.post("/search", json={"id": 7, "k": 4}).json()["hits"]
    assert [hit["id"] for hit in hits] == [hit.id for hit in SearchIndex(built).search_by_id(7, 4)]
    assert 7 not in [hit["id"] for hit in hits]


def test_a_search_with_the_vector_that_embed_gives_finds_what_its_image_finds(client, png):
    vector = client.post("/embed", files={"image": png(9)}).json()["vectors"][0]
    by_vector = client.post("/search", json={"vector": vector}).json()
    by_image = client.post("/search", files={"image": png(9)}).json()
    assert by_vector == by_image


def test_a_filter_chooses_among_the_labels(client):
    hits = client.post("/search", json={"id": 0, "k": 100, "filter": "label in ('class_1', 'class_2')"}).json()["hits"]
    assert {hit["label"] for hit in hits} == {"class_1", "class_2"}
    assert len(hits) == 20


def test_a_crop_is_what_is_searched_with(client, png):
    whole = Image.new("RGB", (6, 3))
    whole.paste(Image.open(io.BytesIO(png(11))), (3, 0))
    file = io.BytesIO()
    whole.save(file, "PNG")
    hits = client.post("/search", files={"image": file.getvalue()}, data={"crop": "0.5,0,1,1"}).json()["hits"]
    assert hits[0]["id"] == client.post("/search", files={"image": png(11)}).json()["hits"][0]["id"]
    assert hits[0]["score"] == pytest.approx(1)


@pytest.mark.parametrize("crop", ["", "1", "0,0,0,0", "0,0,2,1", "nan,0,1,1", "a,b,c,d", "0.5,0,0.4,1", "0,0,1,1,1"])
def test_a_crop_that_is_none_is_refused(client, crop, png):
    answer = client.post("/search", files={"image": png()}, data={"crop": crop})
    assert answer.status_code == 422
    assert "crop" in answer.json()["error"]


def test_several_images_are_embedded_as_the_model_does(client, pixel_model, png):
    files = [("image", png(seed, width=7)) for seed in range(3)]
    answer = client.post("/embed", files=files).json()
    expected = pixel_model.embed([content for _, content in files])
    np.testing.assert_allclose(answer["vectors"], expected, rtol=1e-6)
    assert answer["model"] == pixel_model.hash


def test_the_likeliest_classes_are_those_of_the_model(client, pixel_model, png):
    answer = client.post("/classify", files={"image": png(4)}, data={"k": 3}).json()["classes"]
    expected = pixel_model.classify(png(4), 3)[0]
    assert [each["name"] for each in answer] == [each.name for each in expected]
    assert [each["probability"] for each in answer] == pytest.approx([each.probability for each in expected], abs=1e-6)


def test_calibration_says_match_and_no_match(serve, index, png):
    measured = dict(wanted_rate=0.01, rate=0.01, low=0.0, high=0.1, confidence=0.95, accepted=0.9, queries=9, classes=9)
    measured |= dict(gallery=80)
    curve = dict(scores=(0.0, 1.0), probabilities=(0.25, 0.75))
    manifest = index.manifest
    for threshold, match in ((0.999, True), (1.5, False)):
        calibration = Calibration(threshold=threshold, **measured, **curve).to_json()
        replace(manifest, calibration=calibration).write(index.path)
        client = serve(SearchIndex(index.path))
        found = client.post("/search", files={"image": png(3)}).json()
        assert found["match"] is match
        assert found["hits"][0]["probability"] == pytest.approx(0.75)
        none = client.post("/search", files={"image": png(3)}, data={"filter": "label = 'none'"}).json()
        assert none == {"hits": [], "match": False}
        assert client.get("/health").json()["calibrated"]


def test_added_images_are_found_shown_and_removed_with_the_token(serve, index, authorised, png):
    client = serve(index, TOKEN)
    files = [("image", ("../../<b>ä.png", png(500))), ("image", ("two.png", png(501)))]
    answer = client.post("/add", files=files, data={"label": "new"}, headers=authorised)
    assert answer.json() == {"ids": [80, 81]}
    best = client.post("/search", files={"image": png(500)}).json()["hits"][0]
    assert (best["id"], best["label"], best["name"]) == (80, "new", "<b>ä.png")
    assert client.get("/images/80").headers["content-type"] == "image/jpeg"
    assert all(file.is_relative_to(index.path / "uploads") for file in index.path.rglob("*ä.png"))
    assert client.get("/health").json()["images"] == 82
    assert client.post("/remove", json={"ids": [80]}, headers=authorised).json() == {"removed": 1}
    assert client.get("/images/80").status_code == 404
    assert not list(index.path.rglob("*ä.png"))
    assert client.post("/search", files={"image": png(500)}).json()["hits"][0]["id"] != 80


def test_the_same_image_added_again_keeps_its_id(serve, index, authorised, png):
    client = serve(index, TOKEN)
    twice = [("image", ("a.png", png(500))), ("image", ("a.png", png(500)))]
    assert client.post("/add", files=twice, headers=authorised).json() == {"ids": [80, 80]}
    assert client.post("/add", files=twice[:1], headers=authorised).json() == {"ids": [80]}
    assert len(index) == 81


def test_nothing_is_added_if_one_of_the_images_is_damaged(serve, index, authorised, png):
    client = serve(index, TOKEN)
    files = [("image", png(500)), ("image", png(501)[:60])]
    answer = client.post("/add", files=files, headers=authorised)
    assert answer.status_code in (415, 422)
    assert len(index) == 80
    assert not (index.path / "uploads").exists()


def test_no_file_stays_of_images_that_an_index_in_use_does_not_take(serve, index, authorised, png):
    client = serve(index, TOKEN)
    client.post("/add", files={"image": ("a.png", png(500))}, headers=authorised)
    before = sorted(index.path.rglob("*.png"))
    both = [("image", ("a.png", png(500))), ("image", ("b.png", png(501)))]
    with FileLock(index.path / ".lock"):
        answer = client.post("/add", files=both, headers=authorised)
    assert (answer.status_code, sorted(index.path.rglob("*.png"))) == (503, before)
    assert client.post("/add", files=both, headers=authorised).json() == {"ids": [80, 81]}


def test_a_label_of_blanks_is_none(serve, index, authorised, png):
    client = serve(index, TOKEN)
    for label in ("", "  "):
        answer = client.post("/add", files={"image": png(500)}, data={"label": label}, headers=authorised)
        assert (answer.status_code, len(index)) == (422, 80)


def test_an_absent_id_is_not_removed_and_neither_are_the_others(serve, index, authorised):
    client = serve(index, TOKEN)
    assert client.post("/remove", json={"ids": [3, 999]}, headers=authorised).status_code == 404
    assert len(index) == 80


@pytest.mark.parametrize("sent", [None, "Bearer", f"Bearer {TOKEN[:-1]}", "Bearer ünïcode", f"Basic {TOKEN}", TOKEN])
@pytest.mark.parametrize("route", ["/add", "/remove"])
def test_who_does_not_know_the_token_changes_nothing(serve, index, sent, route, png):
    client = serve(index, TOKEN)
    headers = {} if sent is None else {"Authorization": sent.encode()}
    answer = client.post(route, files={"image": png()}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(index) == 80


def test_without_a_token_file_nobody_changes_anything(client, authorised, png):
    assert client.post("/add", files={"image": png()}, headers=authorised).status_code == 403
    assert client.post("/remove", json={"ids": [1]}, headers=authorised).status_code == 403
    assert client.get("/health").json()["changeable"] is False


def test_a_change_while_somebody_else_changes_the_index_is_put_off(serve, index, authorised):
    client = serve(index, TOKEN)
    with index._writing():
        answer = client.post("/remove", json={"ids": [1]}, headers=authorised)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_pictures_are_small_jpegs_by_id(serve, pixel_model, tmp_path, png):
    from metricforge.deployment.image_collection import open_collection
    from metricforge.index import build_index

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "large.png").write_bytes(png(0, width=900, height=600))
    client = serve(build_index(pixel_model, open_collection(tmp_path / "photos"), tmp_path / "index"))
    answer = client.get("/images/0?size=128")
    assert Image.open(io.BytesIO(answer.content)).size == (128, 85)
    assert len(answer.content) < 20_000
    assert client.get("/images/0?size=128", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert client.get("/images/0?size=4096").status_code == 422
    assert client.get("/images/1").status_code == 404
    assert client.get("/images/-1").status_code == 422
    assert client.get("/images/..%2f..%2fetc%2fpasswd").status_code in (404, 422)


def test_health_and_metrics_say_what_is_served(client, png):
    client.post("/search", files={"image": png()})
    health = client.get("/health").json()
    assert (health["images"], health["dim"], health["classifies"]) == (80, 27, True)
    assert {column["name"] for column in health["columns"]} == {"label"}
    metrics = client.get("/metrics").text
    assert 'metricforge_requests_total{route="/search",status="200"} 1.0' in metrics
    assert "metricforge_batch_images_count 1.0" in metrics
    assert "metricforge_index_images 80.0" in metrics


def test_the_description_names_every_route(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/search", "/embed", "/classify", "/images/{id}", "/metrics", "/health", "/add", "/remove"}
    assert set(paths["/search"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "application/json"}


@pytest.mark.parametrize("route", ["/", "/page.js", "/theme.css", "/page.css", "/icon.svg"])
def test_the_page_loads_nothing_from_elsewhere(client, route):
    answer = client.get(route)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "https://" not in answer.text
    assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "one of id and vector"),
        ({"id": 1, "vector": [0.0] * 27}, "one of id and vector"),
        ({"vector": [0.0] * 26}, "26 numbers"),
        ({"vector": [True] * 27}, "vector.0"),
        ({"vector": ["1"] * 27}, "vector.0"),
        ({"vector": [1e300] * 27}, "finite"),
        ({"id": "1"}, "id"),
        ({"id": 1, "k": 0}, "k"),
        ({"id": 1, "k": 101}, "at most 100"),
        ({"id": 1, "filter": "label = 'a' and (select 1) = 1"}, "subquery"),
        ({"id": 1, "filter": "getenv('HOME') = 'x'"}, "getenv"),
        ({"id": 1, "unknown": 1}, "unknown"),
        ([1], "the body"),
    ],
)
def test_a_wrong_field_is_named(client, body, word):
    answer = client.post("/search", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert word in answer.json()["error"]


def test_other_routes_and_methods_are_refused_in_json(client):
    assert client.get("/nothing").json() == {"error": "Not Found"}
    answer = client.get("/search")
    assert answer.status_code == 405
    assert answer.json()["error"] == "Method Not Allowed"


def test_a_link_out_of_the_collection_is_not_followed(serve, pixel_model, tmp_path, png):
    from metricforge.deployment.image_collection import open_collection
    from metricforge.index import build_index

    photos, secret = tmp_path / "photos", tmp_path / "secret.png"
    (photos / "below").mkdir(parents=True)
    secret.write_bytes(png(1))
    for name in ("one.png", "below/two.png"):
        (photos / name).write_bytes(png(2))
    client = serve(build_index(pixel_model, open_collection(photos), tmp_path / "index"))
    assert [client.get(f"/images/{number}").status_code for number in (0, 1)] == [200, 200]
    (photos / "one.png").unlink()
    (photos / "one.png").symlink_to(secret)
    (photos / "below" / "two.png").unlink()
    (photos / "below").rmdir()
    (photos / "below").symlink_to(tmp_path)
    (tmp_path / "two.png").write_bytes(png(3))
    assert [client.get(f"/images/{number}").status_code for number in (0, 1)] == [404, 404]
