"""One worker for each GPU: which GPU a process is left with, and how workers are spread.

There are no GPUs where these tests run. What is real here are the worker processes and their
environment, by which a GPU is given to them.
"""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.devices import Choice, choose_device, environment, gpu_names
from mnist_sweep.executors.interface import Settings
from mnist_sweep.executors.local import LocalExecutor
from mnist_sweep.plan import plan
from mnist_sweep.trial import DatasetConfig, Trial
from tests.test_executors import _children

SMALL = DatasetConfig(train_size=500, test_size=500)
TRIALS = [Trial(HPConfig(width=16, depth=1, batch_size=50, seed=seed), SMALL) for seed in range(12)]


def gpu_of(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(v.decode().split("=", 1) for v in variables if v)["CUDA_VISIBLE_DEVICES"]


def test_cuda_sees_one_gpu_only() -> None:
    settings = environment("CUDA:PTX", None, "3")
    assert (settings["DEV"], settings["CUDA_VISIBLE_DEVICES"]) == ("CUDA:PTX", "3")


@pytest.mark.parametrize("device", ["AMD", "NV"])
def test_drivers_of_tinygrad_itself_are_told_the_gpu_in_dev(device: str) -> None:
    from tinygrad.helpers import Target

    target = Target.parse(environment(device, None, "3")["DEV"])
    assert (target.device, target.indices, target.interface) == (device, "3", "")


def test_without_a_gpu_to_take_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in environment("CUDA", None)
    assert environment("AMD", None)["DEV"] == "AMD"


@pytest.mark.parametrize(
    ("device", "count", "visible", "names"),
    [
        ("CUDA", 4, "", ("0", "1", "2", "3")),
        ("CUDA", 1, "", ()),
        ("cuda:ptx", 2, "5,7", ("5", "7")),
        ("CUDA", 2, "GPU-8a56, GPU-1b2c", ("GPU-8a56", "GPU-1b2c")),
        ("CUDA", 2, "5,7,99,8", ("5", "7")),  # CUDA itself stops at the first that is not there
        ("AMD", 2, "5,7", ("0", "1")),
        ("PCI:1+AMD", 2, "", ()),
        ("CL", 2, "", ()),
        ("CPU", 1, "", ()),
    ],
)
def test_the_names_of_the_gpus_are_those_that_the_user_lets_us_see(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, visible: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_names(device, count) == names


def test_workers_are_spread_over_the_gpus_and_a_new_one_takes_the_place_of_a_dead_one() -> None:
    cpu = choose_device("CPU")
    choice = Choice("CPU", cpu.compiler, "", gpus=("4", "7"))
    with LocalExecutor(2, choice).open(Settings("test", 1), lambda: False) as session:
        results = session.run(plan(TRIALS))
        assert next(results).status == "ok"
        first = {pid: gpu_of(pid) for pid in _children()}
        assert sorted(first.values()) == ["4", "7"]
        victim = next(pid for pid, gpu in first.items() if gpu == "7")
        os.kill(victim, signal.SIGKILL)
        seen = dict(first)
        for result in results:
            assert result.status == "ok"
            seen.update((pid, gpu_of(pid)) for pid in _children())
    later = Counter(gpu for pid, gpu in seen.items() if pid not in first)
    assert later["7"] >= 1
    assert _children() == []
