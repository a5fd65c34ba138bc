"""Who holds the token passes, and a file that is no token is refused when the server starts."""

from __future__ import annotations

import pytest

from metricforge.errors import MetricForgeError
from metricforge.server.access_token import AccessToken
from metricforge.server.refused_error import RefusedError

TOKEN = "0123456789abcdef"


def test_the_token_is_the_only_line_of_its_file(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    AccessToken.from_file(tmp_path / "token").require(TOKEN)


@pytest.mark.parametrize("content", ["", "short", f"{TOKEN}\n{TOKEN}\n", f"{TOKEN} {TOKEN}", "ä" * 20])
def test_a_file_without_one_token_is_refused(tmp_path, content):
    (tmp_path / "token").write_text(content)
    with pytest.raises(MetricForgeError, match="--token-file"):
        AccessToken.from_file(tmp_path / "token")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(MetricForgeError, match="cannot be read"):
        AccessToken.from_file(tmp_path / "absent")


@pytest.mark.parametrize("sent", [None, "", TOKEN[:-1], TOKEN + "0", "0123456789abcdeF", "ünïcode-ünïcode-"])
def test_anything_else_does_not_pass(sent):
    with pytest.raises(RefusedError) as refused:
        AccessToken(TOKEN).require(sent)
    assert refused.value.status == 401


def test_without_a_token_nobody_passes():
    with pytest.raises(RefusedError) as refused:
        AccessToken(None).require(TOKEN)
    assert refused.value.status == 403
