"""What reading a damaged .npy or .npz file raises: numpy, the archive, and the parsers that its header passes."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

# RuntimeError: encrypted, or compressed in a way that is not known here
DAMAGED_ARRAY = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    EOFError,
    OSError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
