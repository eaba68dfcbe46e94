"""docTR predictors of random weights that find several boxes on a page. Imported by tests that have docTR."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuronkit.demo.pages import PageStyle, render_page
from tests.adapters import doctr_models
from tests.integrations.fitting import fit_last, ink, set_statistics

CFG = {"mean": (0.5, 0.5, 0.5), "std": (0.3, 0.3, 0.3), "input_shape": (3, 32, 128)}


def pages(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pages of printed words, of different sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(160, 320, (count, 2)).tolist()
    return [render_page(rng, (height, width), PageStyle(font_sizes=(14, 24))).image for height, width in sizes]


def predictor(detector: str, recognizer: str, **settings: Any) -> Any:
    """DocTR's own predictor, its pages (256, 256), with a detector that finds text."""
    from doctr.models import detection, ocr_predictor

    torch.manual_seed(1)
    network: Any = getattr(detection, detector)(pretrained=False, pretrained_backbone=False)
    network.cfg = {**CFG, "input_shape": (3, 256, 256)}
    made = ocr_predictor(network, recognition_network(recognizer), **{"det_bs": 2, "reco_bs": 8, **settings})
    images = torch.cat(made.det_predictor.pre_processor(pages(8, seed=9)))
    set_statistics(network, lambda: network(images, return_model_output=True))
    head = network.classifier if hasattr(network, "classifier") else network.prob_head
    fit_last(head[-1], lambda: network(images, return_model_output=True), ink(images), -1.5, 1.5)
    with torch.no_grad():
        maps = network(images, return_model_output=True)["out_map"].flatten()
    network.postprocessor.bin_thresh = float(maps.kthvalue(int(0.88 * len(maps))).values)
    network.postprocessor.box_thresh = 0.0
    return made


def recognition_network(name: str) -> nn.Module:
    from doctr.models import recognition

    torch.manual_seed(3)
    small = {"parseq": doctr_models.parseq, "master": doctr_models.master, "sar": doctr_models.sar}
    if name in small:
        model: Any = small[name](0)
    elif name == "vitstr":
        model = doctr_models.vitstr(0)
    else:
        model = getattr(recognition, name)(pretrained=False, pretrained_backbone=False)
        images = torch.stack([torch.from_numpy(page[:32, :128]) for page in pages(8)]).permute(0, 3, 1, 2) / 100 - 1.5
        set_statistics(model.feat_extractor, lambda: model.feat_extractor(images))
        with torch.no_grad():
            model.linear.weight.mul_(4)
    model.cfg = CFG
    return model.eval()
