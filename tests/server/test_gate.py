"""Each limit refuses what is beyond it, in JSON, and every answer has the headers that protect the page."""

from __future__ import annotations

import io
import socket
import struct
import time
import zlib
from dataclasses import replace

import pytest
from PIL import Image

from metricforge.deployment import EmbeddingModel
from metricforge.server import service as service_module
from metricforge.server.gate import HEADERS
from metricforge.server.refused_error import RefusedError
from metricforge.server.uploaded_image import Crop, prepared


def bomb(width: int, height: int) -> bytes:
    """A PNG that announces so many pixels, in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes(10**6), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("route", ["/search", "/embed", "/classify"])
@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (7072, 7072)])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(client, route, size):
    started = time.perf_counter()
    answer = client.post(route, files={"image": bomb(*size)})
    assert answer.status_code in (413, 415)
    assert time.perf_counter() - started < 5
    if size[0] < 2**31 - 1:
        assert "pixels" in answer.json()["error"]


def test_the_pixel_limit_is_the_option_s(serve, png):
    client = serve(pixels=100)
    assert client.post("/search", files={"image": png(0, width=10, height=10)}).status_code == 200
    assert client.post("/search", files={"image": png(0, width=10, height=11)}).status_code == 413


def test_an_image_that_resizing_would_enlarge_without_limit_is_refused(pixel_model, png):
    """One row of 10,000 pixels has few, and with a shorter side of 128 it would have 163,840,000."""
    preprocessing = (dict(type="Resize", size=128), dict(type="CenterCrop", size=3))
    model = EmbeddingModel(
        pixel_model.learner, replace(pixel_model.description, preprocessing=preprocessing), pixel_model.device, "here"
    )
    with pytest.raises(RefusedError, match=r"too long and narrow: its 10000 x 1 .* would be 163,840,000") as told:
        prepared(png(0, width=10000, height=1), model, 50_000_000)
    assert told.value.status == 413
    crop = Crop(0, 0, 0.01, 1)  # 100 pixels
    assert prepared(png(0, width=10000, height=1), model, 50_000_000, crop).shape == (3, 3, 3)


def test_a_large_body_is_refused_announced_or_not(serve):
    client = serve(body=1000)
    announced = client.post("/search", files={"image": bytes(2000)})
    streamed = client.post("/search", content=(bytes(100) for _ in range(20)), headers={"Content-Type": "image/png"})
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    pieces = client.post(
        "/search",
        content=(each for each in [form, *[bytes(100)] * 20]),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert [each.status_code for each in (announced, streamed, pieces)] == [413, 415, 413]
    assert "1,000 bytes" in announced.json()["error"]
    assert "1,000 bytes" in pieces.json()["error"]


@pytest.mark.parametrize("format_", ["TIFF", "ICO", "PPM", "TGA", "PDF"])
def test_other_kinds_of_images_are_refused(client, format_):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format_)
    answer = client.post("/search", files={"image": ("a.png", file.getvalue(), "image/png")})
    assert answer.status_code == 415
    assert "JPEG, PNG" in answer.json()["error"]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff\xe0", b"GIF89a"]
)
def test_what_is_no_image_is_refused(client, content):
    assert client.post("/search", files={"image": content}).status_code in (415, 422)


def test_a_damaged_image_is_refused_with_a_reason(client, png):
    answer = client.post("/search", files={"image": png(0, width=90, height=90)[:-9000]})
    assert answer.status_code == 422
    assert "damaged" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "image/png"])
def test_another_content_type_is_refused(client, kind):
    answer = client.post("/search", content=b"k=1", headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["error"]


def test_more_requests_a_minute_than_allowed_are_refused_but_health_answers(serve):
    client = serve(rate=5)
    statuses = [client.post("/search", json={"id": 1}).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    answer = client.post("/search", json={"id": 1})
    assert "5 requests a minute" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) > 0
    assert client.get("/health").status_code == 200
    assert client.get("/images/1").status_code == 200, "pictures are counted apart"


def test_a_request_that_takes_too_long_is_given_up(serve, monkeypatch):
    client = serve(seconds=0.2)
    monkeypatch.setattr(service_module, "prepared", lambda *args: time.sleep(1))
    answer = client.post("/search", files={"image": b"x"})
    assert answer.status_code == 503
    assert "0.2 s" in answer.json()["error"]
    assert "retry-after" in answer.headers


def test_a_body_that_does_not_arrive_is_given_up(live):
    address = live(seconds=0.3).removeprefix("http://").strip("/")
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = ["POST /search HTTP/1.1", f"Host: {address}", "Content-Type: application/json", "Content-Length: 100"]
        connection.sendall("\r\n".join([*head, "", '{"id"']).encode())
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 408")


def test_a_fault_of_ours_is_told_without_a_word_of_it(serve, monkeypatch, caplog):
    client = serve()

    def fail(*args):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(service_module, "prepared", fail)
    answer = client.post("/search", files={"image": b"x"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says why"}
    assert "/secret/path" in caplog.text


def test_another_name_of_the_server_is_refused_where_names_are_known(serve):
    client = serve(hosts=("localhost", "127.0.0.1", "[::1]"))
    answers = [
        client.get("/health", headers={"Host": host}).status_code
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "evil.example", "localhost.evil.example:80", "")
    ]
    assert answers == [200, 200, 200, 400, 400, 400]


@pytest.mark.parametrize("path", ["/", "/health", "/nothing", "/images/0", "/images/999"])
def test_every_answer_has_the_headers(client, path):
    answer = client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
