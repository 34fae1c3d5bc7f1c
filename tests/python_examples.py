"""The examples in Python of README.md and docs/python.md."""

import re
from pathlib import Path


def _blocks(page: str) -> list[str]:
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


README, TORCH_MLP = _blocks("README.md")
*_DOCS, TORCH_CNN = _blocks("docs/python.md")
PLAIN = "\n".join(_DOCS)
