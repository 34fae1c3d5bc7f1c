"""The safetensors format, as much of it as float32 models need.

Eight bytes with the length of the header, little-endian; the header, a JSON object from names to
dtypes, shapes and places, with texts at ``__metadata__``; then the numbers
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.errors import UserError

Tensors = Mapping[str, NDArray[np.float32]]


def to_bytes(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """``tensors`` (float32, by name) and ``metadata`` as the content of a safetensors file."""
    header: dict[str, object] = {"__metadata__": metadata}
    body = b""
    for name, tensor in tensors.items():
        content = tensor.astype("<f4").tobytes()
        ends = [len(body), len(body) + len(content)]
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": ends}
        body += content
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + body


def read(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """The tensors and the metadata of the file ``path``.

    Raises UserError where it is something else or damaged, or holds other numbers than float32;
    OSError where it cannot be read.
    """
    content = path.read_bytes()
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        metadata = header.pop("__metadata__", {})
        tensors = {}
        for name, about in header.items():
            shape, (begin, end) = about["shape"], about["data_offsets"]
            if about["dtype"] != "F32" or end - begin != 4 * math.prod(shape):
                raise ValueError(f"{name} is not of float32")
            values = np.frombuffer(content, "<f4", math.prod(shape), start + begin)
            tensors[name] = values.reshape(shape).astype(np.float32)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: no safetensors file of float32, or damaged ({error})") from error
    return tensors, metadata
