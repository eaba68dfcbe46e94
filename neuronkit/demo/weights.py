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

    Returns:
        A CRAFT of reduced width.

    Raises:
        CheckpointError: If the file cannot be read, or is not of a CRAFT.

    Examples:
        >>> neuronkit.demo.weights.load_craft()(torch.zeros(1, 3, 64, 64))[0].shape
        torch.Size([1, 32, 32, 2])
    """
    return load_checkpoint(CRAFT, path)


def load_parseq(path: Path = FOLDER / "parseq.pt") -> PARSeq:
    """Build the demo's text recogniser, in eval mode; it reads digits and lower-case letters.

    Args:
        path: A file of `tools.demo.train`; the default is the one in the package.

    Returns:
        A PARSeq of 36 characters, with its `charset`.

    Raises:
        CheckpointError: If the file cannot be read, or is not of a PARSeq.

    Examples:
        >>> len(neuronkit.demo.weights.load_parseq().charset)
        36
    """
    return load_checkpoint(PARSeq, path)
