"""Replaying without tinygrad's Python gives the same bits, and says so when it cannot."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tinygrad import Tensor
from tinygrad.codegen import to_program_cache
from tinygrad.device import Buffer
from tinygrad.helpers import diskcache_get, diskcache_put
from tinygrad.schedule import schedule_cache

from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.plan import shape_of
from mnist_sweep.training import backend, replay
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial

SMALL = DatasetConfig(train_size=200, test_size=100)


def trained(config: HPConfig) -> dict[str, np.ndarray]:
    data = DeviceData(load_dataset(SMALL))
    trial = Trial(config, SMALL)
    compiled = CompiledShape(shape_of(trial), data)
    compiled.train(trial)
    return compiled.state()


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    for name, value in second.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)


@pytest.mark.parametrize(
    "config",
    [HPConfig(width=32, batch_size=50, lr=1e-2), HPConfig(model="cnn", batch_size=50)],
    ids=["mlp", "cnn"],
)
def test_replay_trains_to_the_same_bits_as_tinyjit(
    config: HPConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def counted(outputs: list[Tensor]) -> object:
        steps.append(replay.cpu_step(outputs))
        return steps[-1]

    monkeypatch.setattr(backend, "cpu_step", counted)
    fast = trained(config)
    # Loud when tinygrad's internals change: both steps must have been replayed.
    assert len(steps) == 2
    assert None not in steps

    monkeypatch.setattr(backend, "cpu_step", lambda _: None)
    assert_same(fast, trained(config))


def test_a_recording_is_read_again_and_a_damaged_one_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []

    def read(key: dict[str, str]) -> object:
        found.append((key, read_recording(key)))
        return found[-1][1]

    read_recording = replay._read_recording
    monkeypatch.setattr(replay, "_read_recording", read)
    config = HPConfig(width=31, batch_size=50)
    first = trained(config)
    keys = [key for key, _ in found]
    assert keys[0] != keys[1]
    assert_same(first, trained(config))
    assert [key for key, _ in found[2:]] == keys
    assert None not in [recording for _, recording in found[2:]]

    for key in keys:
        whole = diskcache_get(replay._RECORDINGS, key)
        diskcache_put(replay._RECORDINGS, key, whole[:100] + b"?" + whole[101:])
    assert_same(first, trained(config))
    assert [recording for _, recording in found[4:]] == [None, None]
    assert_same(first, trained(config))
    assert None not in [recording for _, recording in found[6:]]


@pytest.mark.parametrize("settings", [{}, {"opt": "sgd", "activation_fn": "relu"}], ids=str)
def test_shapes_whose_last_tiles_are_alike_share_all_kernels(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a worker that has met one of them has nothing to generate or to compile for another."""
    sources: list[set[str]] = []

    def replayed(recording: replay.Recording, given: Sequence[Buffer]) -> Callable[[], None]:
        sources.append({source for _, source, _ in recording.kernels})
        return replay_of(recording, given)

    replay_of = replay.replay
    monkeypatch.setattr(replay, "replay", replayed)
    for width in (64, 256):  # 4 rows and no columns beyond tiles of 6 by 64
        trained(HPConfig(width=width, batch_size=50, **settings))
    assert sources[0] == sources[2]
    assert sources[1] == sources[3]


def test_steps_that_differ_in_a_constant_have_recordings_of_their_own() -> None:
    source = backend.to_device(np.ones(7, np.float32))
    for factor in (2.0, 3.0, 2.0):
        out = backend.zeros((7,))
        step = replay.cpu_step([out.assign(source * factor)])
        assert step is not None
        step()
        np.testing.assert_array_equal(backend.read(out), np.full(7, factor))


def test_a_step_that_copies_from_elsewhere_is_left_to_tinyjit() -> None:
    assert replay.cpu_step([(Tensor([1.0, 2.0]) * 2).contiguous()]) is None


def test_what_tinygrad_keeps_of_kernels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_MOST_PROGRAMS", len(to_program_cache) + 3)
    for width in range(1, 6):
        assert (Tensor.arange(width) + 1).contiguous().tolist() == [*range(1, width + 1)]
    backend.release()
    assert len(to_program_cache) == len(schedule_cache) == 0
    assert (Tensor.arange(3) + 1).tolist() == [1, 2, 3]
