"""Whatever is sent, the answer is a refusal with a reason in JSON, and the server goes on."""

from __future__ import annotations

import json

import numpy as np

ROUTES = ("/search", "/embed", "/classify", "/add", "/remove", "/health", "/metrics", "/images/3", "/", "/openapi.json")
METHODS = (*["POST"] * 12, "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "FOO")
PATHS = (
    "/images/../../etc/passwd",
    "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/images/99999999999999999999999",
    "/images/3.0",
    "/images/0x3",
    "/images/３",
    "/images/3%00",
    "/images/3?size=-1",
    "/images/3?size=1e9",
    "/images/3?size=" + "9" * 5000,
    "/page/../page.js",
    "/..%5c..%5cetc",
    "//etc/passwd",
    "/uploads/a.png",
    "/index.json",
    "/static/../../index.json",
)
TEXTS = (
    "",
    "\0",
    "9" * 10_000,
    "-1",
    "1e400",
    "NaN",
    "null",
    "true",
    "[[[[",
    "'; DROP TABLE rows; --",
    "<script>alert(1)</script>",
    "\u202e\u0000\ud83d\ude00".encode("utf-8", "ignore").decode(),
    "label = (SELECT 1)",
    "label IN (SELECT * FROM read_text('/etc/passwd'))",
    "getenv('HOME') = 'x'",
    "1 = 1; ATTACH '/tmp/x'",
    "repeat('a', 1000000000) = 'a'",
    "NOT " * 240 + "TRUE",
    "(" * 500 + "1=1" + ")" * 400,
    "exists(from rows)",
    "regexp_matches(label, '(a+)+$')",
    "COLUMNS(*) = 1",
    "label = ?",
    "label LIKE '" + "%a" * 400 + "'",
)


def hostile(draws: np.random.Generator, png) -> dict:
    """One request that no page would send."""
    kind = draws.integers(6)
    method, route = str(draws.choice(METHODS)), str(draws.choice(ROUTES))
    text = TEXTS[draws.integers(len(TEXTS))]
    if kind == 0:
        return dict(method=method, url=route, content=draws.bytes(int(draws.integers(2000))))
    if kind == 1:
        return dict(method="GET", url=PATHS[draws.integers(len(PATHS))])
    if kind == 2:
        values = {"id": 1, "k": 3, "filter": "label = 'a'", "vector": None}
        values[str(draws.choice(["id", "k", "filter", "vector", "image", "__proto__", "ids"]))] = [
            *(text, -1, 2**63, 2**200, 1.5, True, None, [], {}, [[1]], [text], {"a": text}, [1e308] * 27, [0.0] * 27),
        ][draws.integers(14)]
        return dict(method="POST", url=route, content=json.dumps(values), headers={"Content-Type": "application/json"})
    if kind == 3:  # a damaged picture under a bad name, with bad fields
        content = bytearray(png(int(draws.integers(5)), width=20, height=20))
        for place in draws.integers(len(content), size=int(draws.integers(1, 9))):
            content[place] = draws.integers(256)
        cut = bytes(content[: int(draws.integers(len(content)))]) if draws.random() < 0.5 else bytes(content)
        name = ("../../x.png", "a\\b.png", "<b>.png", "x" * 3000, "")[draws.integers(5)]
        field = str(draws.choice(["k", "filter", "crop", "label", "image", "other"]))
        return dict(method="POST", url=route, files=[("image", (name, cut))], data={field: text})
    if kind == 4:  # a form that is none
        form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
        broken = bytearray(form)
        for place in draws.integers(len(broken), size=3):
            broken[place] = draws.integers(256)
        return dict(
            method="POST", url=route, content=bytes(broken), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
    headers = {
        str(draws.choice(["Content-Type", "Content-Length", "Authorization", "If-None-Match", "X-Forwarded-For"])): str(
            draws.choice(["multipart/form-data", "application/json; charset=utf-7", "Bearer x", "-5", "a" * 5000])
        )
    }
    return dict(method=method, url=route, content=b"{}", headers=headers)


def answers_of(client, png, seed: int, count: int) -> None:
    draws = np.random.default_rng(seed)
    for _ in range(count):
        sent = hostile(draws, png)
        answer = client.request(**sent)
        assert answer.status_code < 500 or answer.status_code == 503, (sent, answer.text)
        assert "Traceback" not in answer.text
        assert "/etc" not in answer.text.replace(sent["url"], "")
        if answer.status_code >= 400 and sent["method"] != "HEAD":
            assert list(answer.json()) == ["error"], sent
            assert len(answer.json()["error"]) > 5


def test_hostile_requests_are_refused_with_a_reason(serve, png):
    client = serve(rate=100_000)
    answers_of(client, png, seed=0, count=300)
    assert client.post("/search", json={"id": 3}).status_code == 200


def test_a_thousand_hostile_requests_are_refused_with_a_reason(serve, index, png, authorised):
    token = authorised["Authorization"].split()[1]
    client = serve(index, token, rate=100_000)
    client.headers.update(authorised)
    answers_of(client, png, seed=1, count=1000)
    assert client.get("/health").status_code == 200
    below = {file for file in index.path.parent.rglob("*") if file.is_file()}
    assert all(file.is_relative_to(index.path) for file in below)
