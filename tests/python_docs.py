"""The examples of docs/python.md."""

import re
from pathlib import Path

_BLOCKS = re.findall(
    r"^```python\n(.*?)^```$",
    (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
TORCH = [block for block in _BLOCKS if "import nn" in block]
PLAIN = "\n".join(block for block in _BLOCKS if block not in TORCH)
