"""Every kernel of a training step compiles for accelerators that this machine does not have.

tinygrad's NULL device renders and compiles for any target, and runs nothing. NVIDIA's compiler is a
Python package (extra ``gpu-check``); AMD's and Apple's are not, so their kernels are text here.
"""

import runpy
import sys
from itertools import chain, zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tinygrad import Context
from tinygrad.device import Compiler
from tinygrad.runtime.support import compiler_amd

from mnist_sweep.config import ACTIVATIONS, FIELDS, OPTIMIZERS, HPConfig, applies, fields_with
from mnist_sweep.models import MODELS
from mnist_sweep.trial import DatasetConfig

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "gpu_floor"))
SMALL = DatasetConfig(train_size=64, test_size=20)
NVIDIA = ("NULL:CUDA:sm_70", "NULL:CUDA:sm_90")
AS_TEXT = {"NULL:HIP:gfx1100": "__attribute__((global))", "NULL:METAL:Apple7": "metal_stdlib"}


def _on(name: str) -> Any:
    """A value of the extra ``name`` that is not its default."""
    meta = FIELDS[name].metadata
    return [*meta["choices"]][-1] if "choices" in meta else meta["type"](min(1, meta["high"]) / 2)


def _cases() -> list[Any]:
    """Each optimizer and activation on a small MLP; each model as it is and with all extras."""
    pairs = zip_longest(OPTIMIZERS, ACTIVATIONS, fillvalue=None)
    names = ({"opt": opt or "adam", "activation_fn": act or "relu"} for opt, act in pairs)
    extras = {name: _on(name) for name in fields_with("extra")}
    on = {m: {n: v for n, v in extras.items() if applies(n, {"model": m})} for m in MODELS}
    models = ({"model": model, **more} for model in MODELS for more in ({}, on[model]))
    cases = []
    for changes in chain(names, models):
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
@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("target", [*NVIDIA, *AS_TEXT])
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
