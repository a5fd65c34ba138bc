"""Whether another process can be reached: its system answers for it, even while it computes and says nothing."""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import suppress
from typing import Literal

KNOCK_SECONDS = 3.0
Answer = Literal["answers", "refuses", "is silent"]


class Doorbell:
    """A port of this process at which others ``knock``; open until the process ends or ``close``.

    Args:
        host: a machine that all processes reach, and ``port`` on it: the port is opened on the address from where this
            one reaches it.

    Raises:
        OSError: if that machine cannot be reached.
    """

    def __init__(self, host: str, port: int) -> None:
        with socket.create_connection((host, port), KNOCK_SECONDS) as there:
            address = there.getsockname()[0]
            family = there.family
        self._socket = socket.create_server((address, 0), family=family, backlog=128)
        self._socket.setblocking(False)
        # a data loader's worker would keep the port open when this process has died
        mine = weakref.ref(self._socket)
        os.register_at_fork(after_in_child=lambda: _close(mine()))
        self.place: tuple[str, int] = (address, self._socket.getsockname()[1])

    def clear(self) -> None:
        """Let in and forget who has knocked, so that there is room for others."""
        with suppress(OSError):  # nobody is waiting
            while True:
                self._socket.accept()[0].close()

    def close(self) -> None:
        """Close the port."""
        self._socket.close()


def _close(opened: socket.socket | None) -> None:
    if opened is not None:
        opened.close()


def knock(host: str, port: int) -> Answer:
    """Whether somebody listens at a ``port``, nobody does any more, or the machine does not even say that."""
    try:
        socket.create_connection((host, port), KNOCK_SECONDS).close()
    except ConnectionRefusedError:
        return "refuses"
    except OSError:  # no answer in time, or no way there
        return "is silent"
    return "answers"
