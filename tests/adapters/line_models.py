"""Line recognisers at small random sizes, with lively statistics. EasyOCR's and docTR's need their libraries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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


def doctr(name: str, vocab: str = "abcdefghij") -> nn.Module:
    from doctr import models

    torch.manual_seed(0)
    make = getattr(models, name)
    return lively(make(pretrained=False, pretrained_backbone=False, vocab=vocab), torch.randn(4, 3, 32, 128))


class BidirectionalLSTM(nn.Module):
    """The recurrent part that all of these share; the first CRNN has time first, and another name for its layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, time_first: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, bidirectional=True, batch_first=not time_first)
        self.time_first = time_first
        layer = nn.Linear(2 * hidden, outputs)
        if time_first:
            self.embedding = layer
        else:
            self.linear = layer

    def forward(self, x: Tensor) -> Tensor:
        self.rnn.flatten_parameters()
        read, _ = self.rnn(x)
        if not self.time_first:
            return self.linear(read)
        steps, rows, size = read.size()
        return self.embedding(read.view(steps * rows, size)).view(steps, rows, -1)


class CRNN(nn.Module):
    """The layers of Shi et al. (2015), table 1, with batch normalisation where baudm/parseq has it."""

    def __init__(self, channels: int, width: int, hidden: int, num_class: int, *, time_first: bool = False) -> None:
        super().__init__()
        sizes = [channels, *(width * n for n in (1, 2, 4, 4, 8, 8, 8))]
        pools = {0: nn.MaxPool2d(2, 2), 1: nn.MaxPool2d(2, 2), 3: _narrow_pool(), 5: _narrow_pool()}
        layers: list[nn.Module] = []
        for i in range(7):
            normed = i in (2, 4, 6)
            kernel, padding = (2, 0) if i == 6 else (3, 1)
            layers.append(nn.Conv2d(sizes[i], sizes[i + 1], kernel, 1, padding, bias=not normed))
            layers += [nn.BatchNorm2d(sizes[i + 1])] if normed else []
            layers.append(nn.ReLU(inplace=True))
            layers += [pools[i]] if i in pools else []
        self.cnn = nn.Sequential(*layers)
        self.rnn = nn.Sequential(
            BidirectionalLSTM(sizes[-1], hidden, hidden, time_first),
            BidirectionalLSTM(hidden, hidden, num_class, time_first),
        )
        self.time_first = time_first

    def forward(self, images: Tensor) -> Tensor:
        seen = self.cnn(images)
        _, _, height, _ = seen.size()
        assert height == 1, "the height must be 1"
        seen = seen.squeeze(2)
        return self.rnn(seen.permute(2, 0, 1) if self.time_first else seen.transpose(1, 2))


def _narrow_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d((2, 2), (2, 1), (0, 1))


def crnn(*, time_first: bool = False, num_class: int = 11) -> nn.Module:
    torch.manual_seed(0)
    return lively(CRNN(3, 8, 12, num_class, time_first=time_first), torch.randn(4, 3, 32, 160))


class Gated(nn.Module):
    """A gated recurrent convolution: what it sees again depends on what it has seen."""

    def __init__(self, inputs: int, outputs: int, times: int) -> None:
        super().__init__()
        self.seen, self.seen_gate = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.Conv2d(inputs, outputs, 1)
        self.again, self.again_gate = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.Conv2d(outputs, outputs, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(times))

    def forward(self, x: Tensor) -> Tensor:
        seen, gate = self.seen(x), self.seen_gate(x)
        x = torch.relu(seen)
        for norm in self.norms:
            x = torch.relu(seen + norm(self.again(x)) * torch.sigmoid(gate + self.again_gate(x)))
        return x


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm, self.shortcut = nn.BatchNorm2d(outputs), nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.second(torch.relu(self.first(x))))
        out += self.shortcut(x)
        return torch.relu(out)


def _features(kind: str, width: int) -> nn.Sequential:
    """Small networks with the strides and paddings of the benchmark's three."""
    a, b, c, d = width, 2 * width, 4 * width, 8 * width
    norm, relu = nn.BatchNorm2d, nn.ReLU
    if kind == "VGG":
        layers = [
            nn.Conv2d(1, a, 3, 1, 1), relu(True), nn.MaxPool2d(2, 2), nn.Conv2d(a, b, 3, 1, 1), relu(True),
            nn.MaxPool2d(2, 2), nn.Conv2d(b, c, 3, 1, 1), relu(True), nn.MaxPool2d((2, 1), (2, 1)),
            nn.Conv2d(c, d, 3, 1, 1, bias=False), norm(d), relu(True), nn.MaxPool2d((2, 1), (2, 1)),
            nn.Conv2d(d, d, 2, 1, 0), relu(True),
        ]  # fmt: skip
    elif kind == "RCNN":
        layers = [
            nn.Conv2d(1, a, 3, 1, 1), relu(True), nn.MaxPool2d(2, 2), Gated(a, a, 2), nn.MaxPool2d(2, 2),
            Gated(a, b, 2), _narrow_pool(), Gated(b, c, 2), _narrow_pool(),
            nn.Conv2d(c, d, 2, 1, 0, bias=False), norm(d), relu(True),
        ]  # fmt: skip
    else:
        layers = [
            nn.Conv2d(1, a, 3, 1, 1, bias=False), norm(a), relu(True), nn.MaxPool2d(2, 2), Residual(a, b),
            nn.MaxPool2d(2, 2), Residual(b, c), nn.MaxPool2d(2, (2, 1), (0, 1)), Residual(c, d),
            nn.Conv2d(d, d, 2, (2, 1), (0, 1), bias=False), norm(d), relu(True),
            nn.Conv2d(d, d, 2, 1, 0, bias=False), norm(d), relu(True),
        ]  # fmt: skip
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """A decoder with attention over all positions, which feeds its own characters back as one-hot vectors."""

    def __init__(self, inputs: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.attention_cell = cell = nn.Module()
        cell.i2h, cell.h2h = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, hidden)
        cell.score, cell.rnn = nn.Linear(hidden, 1, bias=False), nn.LSTMCell(inputs + num_classes, hidden)
        self.generator, self.num_classes, self.hidden = nn.Linear(hidden, num_classes), num_classes, hidden

    def forward(self, features: Tensor, steps: int) -> Tensor:
        cell: Any = self.attention_cell
        state = (features.new_zeros(len(features), self.hidden),) * 2
        token, rows = torch.zeros(len(features), dtype=torch.int64), []
        for _ in range(steps):
            scores = cell.score(torch.tanh(cell.i2h(features) + cell.h2h(state[0]).unsqueeze(1)))
            context = (scores.softmax(1) * features).sum(1)
            last = nn.functional.one_hot(token, self.num_classes).to(features.dtype)
            state = cell.rnn(torch.cat([context, last], 1), state)
            rows.append(self.generator(state[0]))
            token = rows[-1].argmax(1)
        return torch.stack(rows, 1)


class Benchmark(nn.Module):
    """The stages of deep-text-recognition-benchmark."""

    def __init__(self, features: str, sequence: str, prediction: str, characters: str) -> None:
        super().__init__()
        width, hidden = 4, 12
        self.opt = SimpleNamespace(imgH=32, imgW=100, batch_max_length=6, character=characters, PAD=True)
        self.stages = {"Trans": "None", "Feat": features, "Seq": sequence, "Pred": prediction}
        self.FeatureExtraction = _features(features, width)
        self.AdaptiveAvgPool = nn.AdaptiveAvgPool2d((None, 1))
        size = 8 * width
        if sequence == "BiLSTM":
            self.SequenceModeling = nn.Sequential(
                BidirectionalLSTM(size, hidden, hidden), BidirectionalLSTM(hidden, hidden, hidden)
            )
            size = hidden
        if prediction == "CTC":
            self.Prediction: Any = nn.Linear(size, len(characters) + 1)
        else:
            self.Prediction = Attention(size, hidden, len(characters) + 2)

    def forward(self, images: Tensor, text: Any, is_train: bool = True) -> Tensor:
        seen = self.AdaptiveAvgPool(self.FeatureExtraction(images).permute(0, 3, 1, 2)).squeeze(3)
        seen = self.SequenceModeling(seen) if self.stages["Seq"] == "BiLSTM" else seen
        if self.stages["Pred"] == "CTC":
            return self.Prediction(seen.contiguous())
        assert not is_train
        return self.Prediction(seen, self.opt.batch_max_length + 1)


def benchmark(features: str, prediction: str, sequence: str = "BiLSTM") -> nn.Module:
    torch.manual_seed(0)
    return lively(Benchmark(features, sequence, prediction, "0123456789"), torch.randn(4, 1, 32, 160))
