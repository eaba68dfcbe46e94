"""The weights that ship with the package."""

from __future__ import annotations

from pathlib import Path

from neuronkit.models.checkpoint import load_checkpoint
from neuronkit.models.craft import CRAFT
from neuronkit.models.parseq import PARSeq

FOLDER = Path(__file__).parent / "weights"


def load_craft(path: Path = FOLDER / "craft.pt") -> CRAFT:
    """Build the demo's text detector, in eval mode.

    Args:
        path: A file of `tools.demo.train`; the default is the one in the package.

    Raises:
        CheckpointError: If the file cannot be read, or is not of a CRAFT.
    """
    return load_checkpoint(CRAFT, path)


def load_parseq(path: Path = FOLDER / "parseq.pt") -> PARSeq:
    """Build the demo's text recogniser, in eval mode; it reads digits and lower-case letters.

    Args:
        path: A file of `tools.demo.train`; the default is the one in the package.

    Raises:
        CheckpointError: If the file cannot be read, or is not of a PARSeq.
    """
    return load_checkpoint(PARSeq, path)
