"""A trained model, in a safetensors file (https://github.com/huggingface/safetensors#format)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_sweep.analysis.records import row_record
from mnist_sweep.config import HPConfig, settings
from mnist_sweep.data.dataset import Dataset
from mnist_sweep.data.images import PIXELS
from mnist_sweep.errors import UserError
from mnist_sweep.export.net import logits, torch_layout
from mnist_sweep.models import SIDE
from mnist_sweep.trial import TrialResult

#: The name of a model's file in a folder that ``export`` made.
MODEL_FILE = "model.safetensors"
#: Images that are computed at once: of the CNN each takes a megabyte.
_BATCH = 50


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, which needs neither tinygrad nor a compiler.

    ``weights`` are float32, by name, as PyTorch stores them. ``about`` is plain JSON: ``config``;
    ``mean`` and ``std`` of the pixels that it was trained on, divided by 255; how many ``classes``
    it knows; the ``row`` that its training gave, with the versions that made it.
    """

    about: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, result: TrialResult, dataset: Dataset) -> TrainedModel:
        """What training on ``dataset`` came to: ``result``, with its weights."""
        config = result.trial.config
        about = {name: getattr(dataset, name) for name in ("mean", "std", "classes")}
        about |= {"config": settings(config), "row": row_record(result)}
        return cls(about, torch_layout(result.weights, config))

    @property
    def content(self) -> bytes:
        """The model as a file, which ``load_model`` reads."""
        header: dict[str, Any] = {"__metadata__": {"mnist_sweep": json.dumps(self.about)}}
        end = 0
        for name, weight in self.weights.items():
            offsets = [end, end := end + weight.nbytes]
            header[name] = {"dtype": "F32", "shape": weight.shape, "data_offsets": offsets}
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        body = (weight.astype("<f4").tobytes() for weight in self.weights.values())
        return b"".join([len(head).to_bytes(8, "little"), head, *body])

    def probabilities(self, images: ArrayLike) -> NDArray[np.float32]:
        """The probability of each class for each of ``images``, (n, classes).

        ``images`` are grey values from 0 to 255, light on dark, as (n, 28, 28) or (n, 784); a
        single one may lack its first axis. Raises ValueError for other shapes.
        """
        pixels = np.asarray(images, np.float32)
        if pixels.shape[-2:] != (SIDE, SIDE) and pixels.shape[-1:] != (PIXELS,):
            raise ValueError(f"shape {pixels.shape}: images are (n, {SIDE}, {SIDE})")
        config = HPConfig(**self.about["config"])
        x = (pixels.reshape(-1, PIXELS) / 255 - self.about["mean"]) / self.about["std"]
        batches = (x[start : start + _BATCH] for start in range(0, max(len(x), 1), _BATCH))
        out = np.concatenate([logits(self.weights, batch, config) for batch in batches])
        powers = np.exp(out - out.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def predict(self, images: ArrayLike) -> NDArray[np.int64]:
        """The most probable class of each of ``images`` (see ``probabilities``), (n,)."""
        return np.asarray(self.probabilities(images).argmax(1))


def load_model(path: Path | str) -> TrainedModel:
    """The model in a folder of ``export``, or in a file of ``run --save-weights``.

    Raises UserError where there is none that this version can read.
    """
    file = Path(path, MODEL_FILE) if Path(path).is_dir() else Path(path)
    try:
        content = file.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        about = json.loads(header.pop("__metadata__")["mnist_sweep"])
        weights = {}
        for name, tensor in header.items():
            shape, (begin, _) = tensor["shape"], tensor["data_offsets"]
            kind = {"F32": "<f4"}[tensor["dtype"]]
            values = np.frombuffer(content, kind, math.prod(shape), start + begin)
            weights[name] = values.reshape(shape)
        model = TrainedModel(about, weights)
        shares = model.probabilities(np.zeros(PIXELS))
        if shares.shape != (1, about["classes"]) or not np.isfinite(
            shares.sum() + sum(weight.sum() for weight in weights.values())
        ):
            raise ValueError("weights that are not finite, or not those of its configuration")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; mnist-sweep export makes a model") from error
    except Exception as error:  # what is damaged may raise anything
        raise UserError(f"{file}: no model of mnist-sweep, or damaged ({error!r})") from error
    return model
