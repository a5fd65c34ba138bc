"""The types of numpy arrays, by what their elements are; a comment beside each says the shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Indices = NDArray[np.int64]  # of rows, images or classes; labels, ids and counts too
Integers32 = NDArray[np.int32]
Integers16 = NDArray[np.int16]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]  # pixels, packed bits, the content of files
