"""Opening a model file of any family."""

from __future__ import annotations

from os import PathLike

from torch import nn

from neuronkit import checks
from neuronkit.errors import CheckpointError
from neuronkit.models.checkpoint import load_checkpoint
from neuronkit.models.craft import CRAFT
from neuronkit.models.parseq import PARSeq

FAMILIES = ("craft", "parseq")


def open_model(path: str | PathLike[str], *, family: str | None = None, charset: str | None = None) -> nn.Module:
    """Build the model of a checkpoint file, of whichever family it is.

    Args:
        path: The file; see `load_checkpoint`.
        family: "craft" or "parseq"; None recognises it by the names of its tensors.
        charset: For PARSeq: its characters, where the file does not state them.

    Raises:
        CheckpointError: If the file is not a checkpoint of such a family.
        OptionError: If `family` is neither.
    """
    if family is not None:
        checks.choice("family", family, FAMILIES)
    checks.input_file("path", path, error=CheckpointError)
    problems = []
    if family != "parseq":
        try:
            return load_checkpoint(CRAFT, path)
        except CheckpointError as error:
            problems.append(("CRAFT", str(error)))
    if family != "craft":
        try:
            return load_checkpoint(PARSeq, path, charset=charset)
        except CheckpointError as error:
            problems.append(("PARSeq", str(error)))
    if len({problem for _, problem in problems}) == 1:
        raise CheckpointError(problems[0][1])
    raise CheckpointError("; ".join(f"{name}: {problem}" for name, problem in problems))
