"""Line recognisers at small random sizes, with lively statistics. EasyOCR's and docTR's need their libraries."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lively(model: nn.Module, images: Tensor) -> nn.Module:
    """Statistics under which zeros do not stay zeros and features stay of size 1, and states that carry far."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(0, 0.3)
                module.momentum = None
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
            elif isinstance(module, (nn.LSTM, nn.LSTMCell)):
                for parameter in module.parameters():
                    parameter.mul_(1.25)
            elif isinstance(module, nn.Linear):
                module.weight.mul_(4)
                if module.bias is not None:
                    module.bias.mul_(0.1)
        features = getattr(model, "FeatureExtraction", None) or getattr(model, "feat_extractor", None) or model
        features.train()(images)
    return model.eval()


def easyocr(generation: int, num_class: int = 11) -> nn.Module:
    if generation == 1:
        from easyocr.model.model import Model
    else:
        from easyocr.model.vgg_model import Model
    torch.manual_seed(generation)
    return lively(Model(1, 32, 16, num_class), torch.randn(4, 1, 64, 200))
