"""The manifest of an artifact: its format, and how earlier formats are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronkit.errors import ArtifactError
from neuronkit.interface import DETECTOR, OTHER, PROCESSOR_ROLES, RECOGNIZER, SEQ2SEQ, Output, ValidArea, output_fields

FORMAT = 2
# What format 1 says of families and processors; it has no roles.
_FAMILIES = {
    "craft": DETECTOR,
    **dict.fromkeys(
        ("parseq", "trba", "doctr_parseq", "doctr_master", "doctr_sar", "doctr_vitstr"),
        RECOGNIZER,
    ),
    "huggingface": SEQ2SEQ,
}
# CRAFT's score maps (N, H/2, W/2, 2) and features (N, C, H/2, W/2).
_CRAFT_AXES = ((1, 2), (2, 3))


def upgraded(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest of any format that this release reads, in the newest one.

    Format 1 names no role, says nothing of valid sizes and tokens, and calls its outputs ``output_0``, ``output_1``,
    ...; these names are kept, because clients of servers use them.

    Raises:
        ArtifactError: If the format is newer.
    """
    if manifest["format"] > FORMAT:
        raise ArtifactError(
            f"{path}: is of format {manifest['format']}, this neuronkit reads up to {FORMAT}; update neuronkit, "
            "or compile again with this one"
        )
    return _from_format_1(manifest) if manifest["format"] == 1 else dict(manifest)


def _from_format_1(manifest: Mapping[str, Any]) -> dict[str, Any]:
    family, processor = manifest["family"], manifest["processor"]
    role = _FAMILIES.get(family) or (PROCESSOR_ROLES.get(processor["kind"], OTHER) if processor else OTHER)
    tokens: dict[str, int | None] = {"bos": None, "eos": None, "pad": None}
    if family == "parseq":
        # Logits have a class for EOS, 0, and one for each character; BOS and PAD come after them.
        classes = manifest["outputs"][0]["shape"][-1]
        tokens = {"bos": classes, "eos": 0, "pad": classes + 1}
    axes: tuple[tuple[int, ...] | None, ...] = _CRAFT_AXES if family == "craft" else ()
    outputs = []
    for spec, along in zip(manifest["outputs"], [*axes, *[None] * len(manifest["outputs"])]):
        valid = None if along is None else ValidArea(along, stride=2)
        outputs.append({**spec, **output_fields(Output(spec["name"], valid))})
    return {
        **manifest,
        "format": FORMAT,
        "role": role,
        "tokens": tokens,
        "characters": None,
        "outputs": outputs,
        "source": {"class": None, "weight_hash": None},
        "joining": None,
    }
