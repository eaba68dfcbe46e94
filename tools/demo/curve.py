"""Plots the loss and accuracy of a training run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw_curve(path: Path, title: str, history: list[list[float]]) -> None:
    """Draw loss and accuracy over the steps, smoothed, into a PNG."""
    values = np.asarray(history)
    window = max(1, len(values) // 100)
    figure = Figure(figsize=(8, 4), layout="tight")
    loss_axis = figure.subplots()
    accuracy_axis = loss_axis.twinx()
    smooth = [np.convolve(column, np.full(window, 1 / window), "valid") for column in values.T]
    steps = np.arange(window, len(values) + 1)
    loss_axis.semilogy(steps, smooth[0], color="tab:blue")
    loss_axis.set(xlabel="step", ylabel="loss (blue)", title=title)
    accuracy_axis.plot(steps, smooth[1], color="tab:orange")
    accuracy_axis.set(ylabel="accuracy (orange)", ylim=(0, 1))
    figure.savefig(path)
