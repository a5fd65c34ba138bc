"""What every request passes: the limits of body, time, number and rate, and the headers of every answer."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metricforge.server.limits import Limits
from metricforge.server.measures import Measures
from metricforge.server.refused_error import RefusedError, busy

PICTURES = "/images/"
UNLIMITED = ("/health", "/metrics")  # what machines ask for
PICTURES_A_REQUEST = 10
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_log = logging.getLogger(__name__)


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: what answers requests that pass.
        limits: what passes.
        measures: where each request is counted.
        hosts: names that the server may be called by; None: any. A page of somewhere else whose name was made to
            point to this machine calls it by that name.
        headers: of every answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        measures: Measures,
        hosts: Sequence[str] | None = None,
        headers: Mapping[str, str] = HEADERS,
    ) -> None:
        self._app = app
        self._limits = limits
        self._measures = measures
        self._hosts = hosts
        self._headers = headers
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._headers)
        started = time.perf_counter()
        limited = _LimitedBody(receive, self._limits)
        self._in_progress += 1
        self._measures.in_progress.set(self._in_progress)
        try:
            await self._refuse(scope)
            limited.refuse(Headers(scope=scope).get("content-length"))
            await asyncio.wait_for(self._app(scope, limited.receive, answer.send), self._limits.seconds)
        except asyncio.TimeoutError:
            late = f"this took longer than {self._limits.seconds:g} s"
            slow = limited.begun and not limited.complete
            await answer.refuse(RefusedError(408, f"{late} to arrive") if slow else busy(f"{late}; try again later", 5))
        except RefusedError as refused:
            await answer.refuse(refused)
        except Exception:  # ours; the client learns nothing of it
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await answer.refuse(RefusedError(500, "the server failed; its log says why"))
        finally:
            self._in_progress -= 1
            self._measures.in_progress.set(self._in_progress)
            route = getattr(scope.get("route"), "path", "none")
            self._measures.requests.labels(route, str(answer.status)).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - started)

    async def _refuse(self, scope: Scope) -> None:
        """Raise RefusedError for a request that does not pass."""
        path = scope["path"]
        host = Headers(scope=scope).get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self._hosts is not None and name.lower() not in self._hosts:
            raise RefusedError(400, f"this server is not called {name!r}; start it with --host to serve other machines")
        if path in UNLIMITED:
            return
        if self._in_progress > self._limits.waiting:
            raise busy(f"{self._limits.waiting} requests are worked on already; try again in a second")
        picture = path.startswith(PICTURES)
        rate = self._limits.rate * (PICTURES_A_REQUEST if picture else 1)
        if not await self._rates.hit(RateLimitItemPerMinute(rate), _client(scope), "picture" if picture else "request"):
            raise RefusedError(429, f"at most {rate:,} requests a minute are answered", {"Retry-After": "60"})


class _LimitedBody:
    """Receives a body, and no more of it than allowed."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._received = 0
        self.begun = self.complete = False

    def refuse(self, announced: str | None) -> None:
        """Raise RefusedError if the body is ``announced`` to have more bytes than allowed."""
        if announced is not None and announced.isdecimal() and int(announced) > self._limits.body:
            raise _too_large(self._limits)

    async def receive(self) -> Message:
        """The next message, as ASGI has it."""
        self.begun = True
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._limits.body:
            raise _too_large(self._limits)
        return message


class _Answer:
    """Sends an answer with the headers that all have; knows whether it has begun."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await self._send(message)

    async def refuse(self, refused: RefusedError) -> None:
        """Answer with the reason, unless an answer has begun."""
        if self.status:
            return
        body = json.dumps({"error": refused.reason}).encode()
        told = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
        if refused.status == 413:
            told["connection"] = "close"  # the rest of the body is not read
        headers: list[Any] = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the request is larger than the {limits.body:,} bytes that are allowed")


def _client(scope: Scope) -> str:
    """Who asks: an address, of IPv6 the network that one customer has."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))
