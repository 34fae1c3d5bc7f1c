"""Replaying without tinygrad's Python gives the same bits, and says so when it cannot."""

import numpy as np
import pytest
from tinygrad import Tensor, TinyJit

from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.plan import shape_of
from mnist_sweep.training import backend
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.training.replay import replayed
from mnist_sweep.trial import DatasetConfig, Trial

SMALL = DatasetConfig(train_size=200, test_size=100)


@pytest.mark.parametrize(
    "config",
    [HPConfig(width=32, batch_size=50, lr=1e-2), HPConfig(model="cnn", batch_size=50)],
    ids=["mlp", "cnn"],
)
def test_replay_trains_to_the_same_bits_as_tinyjit(
    config: HPConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DeviceData(load_dataset(SMALL))
    trial = Trial(config, SMALL)
    replays = []

    def counted(jitted: object) -> object:
        replays.append(replayed(jitted))
        return replays[-1]

    monkeypatch.setattr(backend, "replayed", counted)
    fast = CompiledShape(shape_of(trial), data)
    fast.train(trial)
    # Loud when tinygrad's internals change: both steps must have been replayed.
    assert len(replays) == 2
    assert None not in replays

    monkeypatch.setattr(backend, "replayed", lambda _: None)
    slow = CompiledShape(shape_of(trial), data)
    slow.train(trial)
    for name, value in slow.state().items():
        np.testing.assert_array_equal(fast.state()[name], value, err_msg=name)


def test_a_step_with_inputs_is_left_to_tinyjit() -> None:
    doubled = TinyJit(lambda x: (x * 2).contiguous().realize())
    for _ in range(2):
        doubled(Tensor([1.0]).contiguous().realize())
    assert replayed(doubled) is None
