"""Writing graphs to files so that a full disk is an OSError: torch's own writer ends the process."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from neuronkit.capture.tracing import capturing
from neuronkit.errors import CompileError


def save_script(module: torch.jit.ScriptModule, path: Path, extra_files: Mapping[str, str] | None = None) -> None:
    """Write TorchScript, flushed to the disk.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("wb") as file:
        torch.jit.save(module, file, _extra_files=dict(extra_files or {}))
        _flush(file)


def save_program(program: Any, path: Path) -> None:
    """Write a torch.export program, flushed to the disk.

    Raises:
        CompileError: If torch cannot serialise it.
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    try:
        with capturing():
            torch.export.save(program, buffer)
    except Exception as error:
        raise CompileError(f"torch.export cannot save the graph: {error}") from error
    with path.open("wb") as file:
        file.write(buffer.getbuffer())
        _flush(file)


def _flush(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())
