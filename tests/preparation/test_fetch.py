"""Downloads against a server of our own, which cuts off, resumes and lies on demand."""

from __future__ import annotations

import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gdown
import numpy as np
import pytest
from rich.console import Console

from metricforge.errors import DatasetError
from metricforge.preparation import Archive, fetch_archive

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
QUIET = Console(quiet=True)


@pytest.fixture
def server():
    """Serves CONTENT with ranges; ``cut`` bytes at most, and another content of the same size under /other."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.asked.append((self.path, self.headers.get("Range")))
            if self.path == "/gone":
                self.send_error(404)
                return
            content = CONTENT[::-1] if self.path == "/other" else CONTENT
            start = 0
            if "Range" in self.headers:
                start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + web.cut])

        def log_message(self, *arguments):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.asked, web.cut = [], len(CONTENT)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield web
    web.shutdown()
    web.server_close()
    thread.join()


def archive(server, *paths, md5=MD5) -> Archive:
    return Archive("set.tgz", tuple(f"http://127.0.0.1:{server.server_port}/{path}" for path in paths), md5)


def test_a_whole_file_is_downloaded_once(server, tmp_path):
    for _ in range(2):
        file = fetch_archive(archive(server, "set"), tmp_path / "in", QUIET)
        assert file.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_download_that_is_cut_off_is_an_error_and_the_next_one_goes_on_from_there(server, tmp_path):
    server.cut = 1_000_000
    with pytest.raises(DatasetError, match=r"(?s)set\.tgz could not be downloaded.*resumes it.*--from set\.tgz"):
        fetch_archive(archive(server, "set"), tmp_path, QUIET, retries=0)
    assert not (tmp_path / "set.tgz").exists()
    server.cut = len(CONTENT)
    assert fetch_archive(archive(server, "set"), tmp_path, QUIET).read_bytes() == CONTENT
    resumed = server.asked[-1][1]
    assert resumed is not None
    assert 0 < int(resumed.removeprefix("bytes=").rstrip("-")) <= 1_000_000


def test_a_wrong_file_is_removed_and_the_next_mirror_is_asked(server, tmp_path):
    assert fetch_archive(archive(server, "gone", "other", "set"), tmp_path, QUIET, retries=0).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/gone", "/other", "/set"]


def test_a_wrong_checksum_everywhere_is_an_error_that_says_why_of_each_mirror(server, tmp_path):
    with pytest.raises(
        DatasetError,
        match=r"(?s)/gone: HTTPError: 404.*/other: sent a file that is not the official one .MD5 \w{32}, not",
    ):
        fetch_archive(archive(server, "gone", "other"), tmp_path, QUIET, retries=0)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_that_lies_there_is_not_taken(server, tmp_path):
    (tmp_path / "set.tgz").write_bytes(CONTENT[:-1])
    assert fetch_archive(archive(server, "set"), tmp_path, QUIET).read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_an_error(tmp_path):
    nowhere = Archive("set.tgz", ("http://127.0.0.1:9/set",), MD5)
    with pytest.raises(DatasetError, match=r"127\.0\.0\.1:9/set: ConnectionError"):
        fetch_archive(nowhere, tmp_path, QUIET, retries=0)


def test_a_full_disk_is_said_and_no_other_mirror_is_asked(server, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gdown, "download", full)
    with pytest.raises(DatasetError, match=r"the disk of .* is full; free some space, or name another disk"):
        fetch_archive(archive(server, "set", "other"), tmp_path, QUIET)
