"""Names code of others that ends the process, where it may only raise errors."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from metricforge.errors import PluginError

MAY_EXIT = {"metricforge", "argparse", "uvicorn"}


@contextmanager
def exits_of_others_named() -> Iterator[None]:
    """Raise PluginError where code that is called here ends the process, which would be silence and often success."""
    try:
        yield
    except SystemExit as end:
        *_, (frame, line) = traceback.walk_tb(end.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] in MAY_EXIT:
            raise
        raise PluginError(
            f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name}: ends the process (SystemExit: "
            f"{end.code}) in the middle of the command; this is a fault of that code, which may only raise errors"
        ) from end
