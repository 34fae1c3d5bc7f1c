"""Figures for people. Nothing else in the package draws: matplotlib is imported here, and first.

As it is imported, matplotlib reads settings from the environment, the working folder and the home
folder, and stops at broken ones. Every figure has settings of its own, so it is to see none.
"""

import contextlib
import os

from mnist_sweep.cache import cache_dir

_folder = cache_dir() / "matplotlib"
_folder.mkdir(exist_ok=True)
_ours = {"MPLBACKEND": "agg", "MPLCONFIGDIR": str(_folder), "MATPLOTLIBRC": str(_folder)}
_theirs = {name: value for name in _ours if (value := os.environ.get(name)) is not None}
os.environ |= _ours
try:
    with contextlib.chdir(_folder):
        import matplotlib.font_manager  # noqa: F401
finally:
    for _name in _ours:
        del os.environ[_name]
    os.environ |= _theirs
