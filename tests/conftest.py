"""Tests train for real on the CPU: its compiler must be settled before tinygrad is imported."""

import os

import pytest

from mnist_sweep import devices
from tests.report_browser import browser, show, tabs

__all__ = ["browser", "show", "tabs"]

_compiler = devices.find_compiler()
if _compiler is None:
    pytest.exit(devices.NO_COMPILER, returncode=2)
os.environ.update(devices.environment("CPU", _compiler))
