"""Hyperparameter sweeps of small tinygrad models on MNIST, run from a YAML file into a CSV."""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mnist_sweep.api import *  # noqa: F403
else:

    def __getattr__(name):
        if name.startswith("_"):
            raise AttributeError(name)
        # Not before something is asked for: numpy and matplotlib take half a second.
        return getattr(importlib.import_module("mnist_sweep.api"), name)

    def __dir__():
        return [*globals(), *importlib.import_module("mnist_sweep.api").__all__]
