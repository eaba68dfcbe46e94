"""An EasyOCR Reader whose weights are fitted, so that it finds words. Imported by tests that have EasyOCR."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.models import CRAFT
from tests.integrations.fitting import fit_last, ink, set_statistics


def pages(count: int, seed: int = 0, largest: int = 352) -> list[NDArray[np.uint8]]:
    """Pages of printed words, of different sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2 * largest // 3, largest, (count, 2)).tolist()
    return [render_page(rng, (height, width), PageStyle(font_sizes=(18, 30))).image for height, width in sizes]


def detector(width: float) -> nn.Module:
    torch.manual_seed(0)
    network: Any = CRAFT(width=width).eval()
    squares = [cv2.resize(page, (256, 256)) for page in pages(6, seed=9)]
    images = (torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255 - 0.45) / 0.22
    set_statistics(network, lambda: network(images))
    printed = ink(images)
    fit_last(network.conv_cls[-1], lambda: network(images), torch.cat([printed, 0 * printed], dim=1), 0.0, 1.3)
    return network


def recognizer(classes: int, hidden: int) -> nn.Module:
    from easyocr.model.vgg_model import Model

    torch.manual_seed(0)
    network = Model(1, hidden, hidden, classes).eval()
    crops = [cv2.resize(page[20:60], (384, 64)) for page in pages(6, seed=9)]
    lines = torch.from_numpy(np.stack(crops)).float().mean(3)[:, None] / 127.5 - 1
    set_statistics(network, lambda: network(lines, None))
    with torch.no_grad():
        # What differs from place to place decides which character it is.
        logits = network(lines, None).flatten(0, 1)
        network.Prediction.weight.mul_(12 / (logits - logits.mean(0)).std())
        network.Prediction.bias.zero_()
        network.Prediction.bias.sub_(network(lines, None).flatten(0, 1).mean(0))
        network.Prediction.bias[0] += 14
    return network


def reader(folder: Path, monkeypatch: pytest.MonkeyPatch, width: float = 1.0, hidden: int = 256) -> Any:
    """A Reader as its users make it, that reads the weights from a folder; its networks may be thinner."""
    import easyocr
    from easyocr import config

    models = {"craft_mlt_25k.pth": detector(width), "english_g2.pth": recognizer(97, hidden)}
    get_recognizer = easyocr.easyocr.get_recognizer

    def thinner(name: str, sizes: dict[str, int], *others: Any, **named: Any) -> Any:
        return get_recognizer(name, {**sizes, "output_channel": hidden, "hidden_size": hidden}, *others, **named)

    monkeypatch.setattr("easyocr.easyocr.get_recognizer", thinner)
    if width != 1.0:
        monkeypatch.setattr("easyocr.detection.CRAFT", lambda: CRAFT(width=width))
    entries = config.detection_models["craft"], config.recognition_models["gen2"]["english_g2"]
    for (name, network), entry in zip(models.items(), entries):
        path = folder / name
        torch.save({f"module.{key}": value for key, value in network.state_dict().items()}, path)
        monkeypatch.setitem(entry, "md5sum", hashlib.md5(path.read_bytes()).hexdigest())
    return easyocr.Reader(
        ["en"],
        gpu=False,
        download_enabled=False,
        quantize=False,
        verbose=False,
        model_storage_directory=str(folder),
        user_network_directory=str(folder),
    )
