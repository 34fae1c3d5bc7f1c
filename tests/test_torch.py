"""Stock PyTorch reads exported models, and says of every test image what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_sweep.api import DatasetConfig, HPConfig, Trial, load_model, train
from mnist_sweep.data.dataset import load_dataset
from tests.python_examples import TORCH_CNN, TORCH_MLP

pytestmark = pytest.mark.torch
DATA = DatasetConfig(train_size=6000)


@pytest.mark.parametrize(
    ("example", "config", "name"),
    [
        (TORCH_MLP, HPConfig(width=256), "results/sweep.model"),
        (TORCH_CNN, HPConfig(model="cnn"), "cnn.model"),
    ],
)
def test_the_loaders_of_the_docs_predict_what_our_models_do(
    example: str, config: HPConfig, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir(parents=True)
    result, trained = train(Trial(config, DATA))
    (folder / "model.safetensors").write_bytes(trained.content)
    names: dict[str, Any] = {}
    exec(example, names)
    dataset = load_dataset(DATA)
    pixels = dataset.images[dataset.test_rows]
    x = (pixels.astype(np.float32) / 255 - trained.about["mean"]) / trained.about["std"]
    with torch.no_grad():
        said = torch.cat([names["net"](part) for part in torch.tensor(x).float().split(500)])
    predicted = said.argmax(1).numpy()
    assert (predicted != load_model(folder).predict(pixels)).sum() <= 1
    accuracy = (predicted == dataset.labels[dataset.test_rows]).mean()
    assert result.test_accuracy is not None
    assert accuracy > 0.9
    assert abs(accuracy - result.test_accuracy) < 1.5e-4
