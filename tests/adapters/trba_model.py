"""A small dynamic recogniser of TRBA's structure, with torch's own grid_sample, LSTMs and a growing loop.

The published one is on no package index; where it is at hand, `make_static` recognises it by its class. This one stands
in for it under the names that the adapter reads.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEIGHT, WIDTH, POINTS = 16, 40, 6


class Localization(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.F = POINTS
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.localization_fc1 = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.localization_fc2 = nn.Linear(16, 2 * POINTS)
        x = torch.linspace(-1, 1, POINTS // 2)
        start = [torch.stack([x, torch.full_like(x, y)], dim=1) for y in (-0.8, 0.8)]
        self.localization_fc2.bias.data = torch.cat(start).flatten()

    def forward(self, images: Tensor) -> Tensor:
        points = self.localization_fc2(self.localization_fc1(self.conv(images).flatten(1)))
        return points.view(-1, POINTS, 2)


def spline_matrices() -> tuple[Tensor, Tensor]:
    """Inverse of the thin-plate-spline system of the fiducial points, and the basis at every pixel."""
    x = torch.linspace(-1, 1, POINTS // 2, dtype=torch.float64)
    points = torch.cat([torch.stack([x, torch.full_like(x, y)], dim=1) for y in (-1.0, 1.0)])
    pixels = torch.stack(
        torch.meshgrid(
            (torch.arange(HEIGHT, dtype=torch.float64) * 2 + 1) / HEIGHT - 1,
            (torch.arange(WIDTH, dtype=torch.float64) * 2 + 1) / WIDTH - 1,
            indexing="ij",
        )[::-1],
        dim=-1,
    ).reshape(-1, 2)

    def basis(at: Tensor) -> Tensor:
        distance = torch.cdist(at, points)
        return torch.cat([torch.ones(len(at), 1), at, distance**2 * torch.log(distance + 1e-6)], dim=1)

    system = torch.zeros(POINTS + 3, POINTS + 3, dtype=torch.float64)
    system[:POINTS] = basis(points)
    system[POINTS:, 3:] = torch.cat([torch.ones(POINTS, 1), points], dim=1).T
    return torch.linalg.inv(system).float(), basis(pixels).float()


class Rectification(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.I_size = self.I_r_size = (HEIGHT, WIDTH)
        self.LocalizationNetwork = Localization()
        self.GridGenerator = nn.Module()
        for name, matrix in zip(("inv_delta_C", "P_hat"), spline_matrices()):
            self.GridGenerator.register_buffer(name, matrix)

    def forward(self, images: Tensor) -> Tensor:
        grid: Any = self.GridGenerator
        points = F.pad(self.LocalizationNetwork(images), [0, 0, 0, 3])
        places = (grid.P_hat @ (grid.inv_delta_C @ points)).view(-1, HEIGHT, WIDTH, 2)
        return F.grid_sample(images, places, padding_mode="border", align_corners=True)


class Recurrent(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, hidden, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.rnn(x)[0])


class Attention(nn.Module):
    def __init__(self, width: int, num_class: int) -> None:
        super().__init__()
        self.num_class = num_class
        self.char_embeddings = nn.Embedding(num_class, 12)
        self.generator = nn.Linear(width, num_class)
        self.attention_cell = nn.Module()
        for name, part in {
            "i2h": nn.Linear(width, width, bias=False),
            "h2h": nn.Linear(width, width),
            "score": nn.Linear(width, 1, bias=False),
            "rnn": nn.LSTMCell(width + 12, width),
        }.items():
            self.attention_cell.add_module(name, part)

    def forward(self, features: Tensor, start: Tensor, steps: int) -> Tensor:
        cell: Any = self.attention_cell
        token = start.expand(len(features))
        state = (torch.zeros_like(features[:, 0]),) * 2
        rows = []
        for _ in range(steps):
            energy = cell.score(torch.tanh(cell.i2h(features) + cell.h2h(state[0])[:, None]))
            context = (energy.softmax(1) * features).sum(1)
            state = cell.rnn(torch.cat([context, self.char_embeddings(token)], dim=1), state)
            rows.append(self.generator(state[0]))
            token = rows[-1].argmax(1)
        return torch.stack(rows, dim=1)


class TRBA(nn.Module):
    """Called with images, the longest length and the first token: (N, 3, 16, 40) → (N, max_label_length + 1, C)."""

    def __init__(self, num_class: int = 20, width: int = 24) -> None:
        super().__init__()
        self.Transformation = Rectification()
        self.FeatureExtraction = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.SequenceModeling = nn.Sequential(Recurrent(width, width), Recurrent(width, width))
        self.Prediction: nn.Module = Attention(width, num_class)

    def forward(self, images: Tensor, max_label_length: int, text: Tensor) -> Tensor:
        features = self.FeatureExtraction(self.Transformation(images)).mean(2).transpose(1, 2)
        return self.Prediction(self.SequenceModeling(features), text[0], max_label_length + 1)


class System(nn.Module):
    """The training system around it."""

    def __init__(self, model: TRBA, max_label_length: int) -> None:
        super().__init__()
        self.model = model
        self.max_label_length = max_label_length
        self.tokenizer = SimpleNamespace()
