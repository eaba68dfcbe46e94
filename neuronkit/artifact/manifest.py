"""The manifest of an artifact: its format, and how earlier formats are read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import ArtifactError
from neuronkit.interface import (
    DETECTOR,
    OTHER,
    PROCESSOR_ROLES,
    RECOGNIZER,
    SEQ2SEQ,
    Interface,
    Output,
    ValidArea,
    output_fields,
)
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import LOGITS, Decoding
from neuronkit.static.shapes.refused import RefusedSizes
from neuronkit.targets import find_target

FORMAT = 2
_ENTRIES: dict[str, Any] = {
    **dict.fromkeys(("neuronkit", "target", "role", "family", "weight_hash"), str),
    **dict.fromkeys(
        ("versions", "tokens", "source", "graphs", "options", "commands", "cache", "parity"),
        dict,
    ),
    **dict.fromkeys(("inputs", "outputs", "op_whitelist"), list),
    **dict.fromkeys(("operators", "processor", "joining"), (dict, type(None))),
    "characters": (str, type(None)),
}
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


def checked(path: Path, manifest: Any) -> dict[str, Any]:
    """A manifest of any format that this release reads, in the newest one, with every entry of its kind.

    Format 1 names no role, says nothing of valid sizes and tokens, and calls its outputs ``output_0``, ``output_1``,
    ...; these names are kept, because clients of servers use them.

    Raises:
        ArtifactError: If the format is newer, or the manifest lacks an entry, or holds a wrong one.
    """
    form = manifest.get("format") if isinstance(manifest, dict) else None
    if type(form) is int and form > FORMAT:
        raise ArtifactError(
            f"{shown(path)}: is of format {shown(form)}, this neuronkit reads up to {FORMAT}; update neuronkit, "
            "or compile again with this one"
        )
    try:
        if type(form) is not int or form < 1:
            raise ArtifactError(f"format is {shown(form)}, expected a number from 1 to {FORMAT}")
        found = _from_format_1(manifest) if form == 1 else dict(manifest)
        _check_entries(found)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{shown(path)}: its manifest is damaged ({type(error).__name__}: {shown(str(error))}); compile it again"
        ) from error
    return found


def _check_entries(manifest: dict[str, Any]) -> None:
    """Raise an error of some kind unless every entry is of its type, and describes what it should."""
    for name, kinds in _ENTRIES.items():
        if not isinstance(manifest[name], kinds):
            raise ArtifactError(f"{name} is {shown(manifest[name])}")
    find_target(manifest["target"])
    for spec in (*manifest["inputs"], *manifest["outputs"], *chain.from_iterable(manifest["graphs"].values())):
        TensorSpec.from_dict(spec)
    if not manifest["inputs"] or not manifest["outputs"] or not manifest["graphs"]:
        raise ArtifactError("it names no inputs, no outputs or no graphs")
    Interface.from_manifest(manifest)
    if manifest["joining"] is not None:
        _check_joining(Decoding.from_dict(manifest["joining"]), manifest)
    refused = RefusedSizes.from_manifest(manifest)
    if refused is not None and refused.input not in [spec["name"] for spec in manifest["inputs"]]:
        raise ArtifactError(f"it refuses sizes of {shown(refused.input)}, which is no input")
    for name, ids in manifest.get("input_ranges", {}).items():
        checks.choice("input_ranges", name, [spec["name"] for spec in manifest["inputs"]])
        checks.integers("input_ranges", ids, 2)
    for name, columns in manifest.get("column_ranges", {}).items():
        checks.choice("column_ranges", name, [spec["name"] for spec in manifest["inputs"]])
        (last,) = (spec["shape"][-1] for spec in manifest["inputs"] if spec["name"] == name)
        for column in columns:
            checks.integers("column_ranges", column, 3)
            checks.integer("a column", column[0], 0, last - 1)
    for name in ("class", "weight_hash"):
        if not isinstance(manifest["source"][name], (str, type(None))):
            raise ArtifactError(f"source.{name} is {shown(manifest['source'][name])}")
    greatest_differences(manifest)
    options = manifest["options"]
    CompileOptions(**{name: options[name] for name in ("auto_cast", "auto_cast_type")})
    if options["neuroncores"] is not None:
        checks.integer("neuroncores", options["neuroncores"], 1)
    checks.flag("inline_weights", options["inline_weights"])


def greatest_differences(manifest: Mapping[str, Any]) -> dict[str, float]:
    """How far the static and the compiled model were from the original, where they were compared."""
    parity = manifest["parity"].items()
    return {stage: max(float(output["max_abs"]) for output in found["outputs"]) for stage, found in parity}


def _check_joining(decoding: Decoding, manifest: Mapping[str, Any]) -> None:
    """Raise ArtifactError where what the loop does and what the manifest says of the outputs differ."""
    shape = manifest["outputs"][0]["shape"]
    positions = shape[-2 if decoding.named_outputs[0].name == LOGITS else -1]
    if decoding.steps != positions:
        raise ArtifactError(f"it joins its graphs to {decoding.steps} steps, and its output has {positions}")
    for name, joined in (("bos", decoding.bos_id), ("eos", decoding.eos_id)):
        if manifest["tokens"][name] not in (None, joined):
            raise ArtifactError(f"it joins its graphs with {name} {joined}; its tokens say {manifest['tokens'][name]}")


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
