"""The token that those who change the index must know."""

from __future__ import annotations

import secrets
from pathlib import Path

from metricforge.errors import MetricForgeError
from metricforge.server.refused_error import RefusedError

SHORTEST = 16  # characters


class AccessToken:
    """Lets those pass who send the token.

    Args:
        token: at least 16 printable ASCII characters without blanks; None: nobody passes.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and not (len(token) >= SHORTEST and token.isascii() and token.isprintable()):
            raise MetricForgeError(
                f"a token must have at least {SHORTEST} printable ASCII characters; make one: openssl rand -hex 32"
            )
        self._token = token

    @classmethod
    def from_file(cls, path: Path) -> AccessToken:
        """The token that is the only line of ``path``.

        Raises:
            MetricForgeError: if it cannot be read, or is no token.
        """
        try:
            lines = path.read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError) as fault:
            raise MetricForgeError(f"--token-file {path}: cannot be read ({fault})") from fault
        if len(lines) != 1:
            raise MetricForgeError(f"--token-file {path}: must hold one token and nothing else")
        try:
            return cls(lines[0])
        except MetricForgeError as fault:
            raise MetricForgeError(f"--token-file {path}: {fault}") from fault

    @property
    def exists(self) -> bool:
        """Whether anybody may change the index."""
        return self._token is not None

    def require(self, sent: str | None) -> None:
        """Raise RefusedError unless ``sent`` is the token; how long that takes tells nothing of it."""
        if self._token is None:
            raise RefusedError(403, "this server changes nothing: it was started without --token-file")
        if sent is None or not secrets.compare_digest(sent.encode(), self._token.encode()):
            reason = "a token is needed: Authorization: Bearer TOKEN" if sent is None else "the token is another"
            raise RefusedError(401, reason, {"WWW-Authenticate": "Bearer"})
