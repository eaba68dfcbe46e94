"""Files of weights and checkpoints, each written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save_weights(path: Path, model: nn.Module, hyper_parameters: dict[str, Any]) -> None:
    """Write weights as float16, and what is needed to build the model.

    Args:
        path: The file.
        model: Whose weights.
        hyper_parameters: Strings, integers, lists; no floats, which torch 1.13 does not take for plain data.
    """
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    write_whole(path, {"hyper_parameters": hyper_parameters, "state_dict": state})


def write_whole(path: Path, state: dict[str, Any]) -> None:
    """`torch.save` through a temporary file, so that the file is never incomplete."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
