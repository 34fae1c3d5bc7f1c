"""Every kernel of a training step compiles for accelerators that this machine does not have.

tinygrad's NULL device renders and compiles for any target, and runs nothing. NVIDIA's compiler is a
Python package (extra ``gpu-check``); AMD's and Apple's are not, so their kernels are text here.
"""

import runpy
import sys
from itertools import product, zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tinygrad import Context
from tinygrad.device import Compiler
from tinygrad.runtime.support import compiler_amd

from mnist_sweep.config import ACTIVATIONS, FIELDS, HPConfig, applies, fields_with
from mnist_sweep.models import MODELS
from mnist_sweep.optimizers import OPTIMIZERS
from mnist_sweep.trial import DatasetConfig

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "gpu_floor"))
SMALL = DatasetConfig(train_size=64, test_size=20)
NVIDIA = ("NULL:CUDA:sm_70", "NULL:CUDA:sm_90")
AS_TEXT = {"NULL:HIP:gfx1100": "__attribute__((global))", "NULL:METAL:Apple7": "metal_stdlib"}


def _extras(**values: Any) -> dict[str, Any]:
    """A value that is on for each extra that means something beside ``values``."""
    on: dict[str, Any] = {}
    for name in fields_with("extra"):
        meta = FIELDS[name].metadata
        strength = {int: 1, float: min(1, meta.get("high", 1)) / 2}
        on[name] = [*meta["choices"]][-1] if meta["type"] is str else strength[meta["type"]]
    return {name: value for name, value in on.items() if applies(name, {**on, **values})}


def _cases() -> list[Any]:
    """Each optimizer, with what only some have, and activation on a small MLP; each model as it
    is and with all extras.
    """
    names = zip_longest(OPTIMIZERS, ACTIVATIONS)
    settings: list[dict[str, Any]] = [
        {"opt": opt or "adam", "activation_fn": activation or "relu"} for opt, activation in names
    ]
    for changes in settings:
        own = _extras(**changes)
        changes |= {n: v for n, v in own.items() if FIELDS[n].metadata.get("of") == "opt"}
    settings += [
        {"model": model, **more} for model in MODELS for more in ({}, _extras(model=model))
    ]
    cases = []
    for changes in settings:
        used = MODELS[changes.get("model", "mlp")].uses
        sizes = {name: size for name, size in {"width": 16, "depth": 1}.items() if name in used}
        name = "-".join(map(str, [*changes.values()][:2]))
        cases.append(pytest.param(HPConfig(**{"batch_size": 8, **sizes, **changes}), id=name))
    return cases


@pytest.fixture
def _renderers(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMD's and Apple's renderers without their compilers: a binary is the source."""
    monkeypatch.setattr(compiler_amd, "HIPCompiler", lambda _: Compiler())
    metal = SimpleNamespace(MetalCompiler=Compiler)
    monkeypatch.setitem(sys.modules, "tinygrad.runtime.ops_metal", metal)


@pytest.mark.slow
@pytest.mark.usefixtures("_renderers")
@pytest.mark.parametrize(("target", "stack"), [*product(NVIDIA, (1, 3)), *product(AS_TEXT, (3,))])
@pytest.mark.parametrize("config", _cases())
def test_a_step_compiles(config: HPConfig, target: str, stack: int) -> None:
    if target in NVIDIA and not SCRIPT["find_nvrtc"]():
        pytest.skip("needs the extra gpu-check")
    with Context(DEV=target):
        kernels = SCRIPT["step_kernels"](config, SMALL, stack)
    assert len(kernels) > 10
    for kernel in kernels:
        source, binary = (part.arg for part in kernel.src[2:4])
        if target in NVIDIA:
            assert binary.startswith(b"\x7fELF")
        else:
            assert AS_TEXT[target] in source
