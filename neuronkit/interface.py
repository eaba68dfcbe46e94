"""Interface: what a model is for, and what its outputs mean. A manifest stores it; pipelines and servers read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neuronkit import checks
from neuronkit.errors import SpecError

DETECTOR, RECOGNIZER, SEQ2SEQ, OTHER = ROLES = ("detector", "recognizer", "seq2seq", "other")
_TOKENS = ("bos", "eos", "pad", "blank")
# Kind of a processor → what a model that it surrounds is.
PROCESSOR_ROLES = {"craft": DETECTOR, "parseq": RECOGNIZER, "ctc": RECOGNIZER, "doctr": RECOGNIZER}


@dataclass(frozen=True)
class ValidArea:
    """How much of an output is meaningful when only part of the input is.

    Along each of `axes`, the first ``(valid + offset) // stride`` entries are meaningful, `valid` being the number in
    the same column of the input that gives the valid size, or the only one.

    Args:
        axes: Axes of the output, as many as the input has columns: (height, width), or (width,).
        stride: Input pixels for each entry of the output.
        offset: Added before the division; ``stride - 1`` rounds up. Negative where a network drops the last entries.
        input: Name of the input: (N, 2) for two axes, (N,) for one.

    Raises:
        SpecError: If a number is not whole, or the stride is not positive.
    """

    axes: tuple[int, ...]
    stride: int = 1
    offset: int = 0
    input: str = "valid_size"

    def __post_init__(self) -> None:
        axes = self.axes if isinstance(self.axes, (tuple, list)) else ()
        object.__setattr__(self, "axes", checks.integers("axes", axes, max(1, len(axes)), 0, error=SpecError))
        checks.integer("stride", self.stride, 1, error=SpecError)
        checks.integer("offset", self.offset, error=SpecError)
        checks.text("input", self.input, error=SpecError)

    def size(self, valid: Any) -> Any:
        """Meaningful entries along an axis, for a valid size in pixels, or for a tensor of such sizes."""
        return (valid + self.offset) // self.stride


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Args:
        name: What it is called.
        valid: How its meaningful part follows from the valid size; None where all of it is meaningful.
    """

    name: str
    valid: ValidArea | None = None


@dataclass(frozen=True)
class Interface:
    """What a model is for, what its outputs are, and which ids its tokens have.

    Args:
        role: "detector" (images to score maps), "recognizer" (images of words to logits over characters), "seq2seq"
            (encoder–decoder, images or tokens to logits over a vocabulary), or "other".
        outputs: The outputs in order; empty where nothing is known of them.
        bos_id: Token that begins a sequence, None without one.
        eos_id: Token that ends a sequence, None without one.
        pad_id: Token that fills sequences up, None without one.
        characters: The characters that a recogniser's classes stand for, in order and without the special tokens; None
            where the model does not have them.
        confidence: How the original rates a word, where that is not the product of all probabilities: "mean" of the
            characters' or "minimum" over all positions.
        blank_id: Class that stands for no character, in models whose logits are read by CTC; None for others.
        keep_ratio: Whether the original's images keep their proportions, and are padded on the right.
        further_ends: Tokens that end a sequence besides `eos_id`.

    Raises:
        SpecError: If there is no such role, an id is not a whole number, or `characters` is not text.
    """

    role: str = OTHER
    outputs: tuple[Output, ...] = ()
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    characters: str | None = None
    confidence: str | None = None
    blank_id: int | None = None
    keep_ratio: bool = False
    further_ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(self.outputs))
        checks.choice("role", self.role, ROLES, error=SpecError)
        for name in (f"{token}_id" for token in _TOKENS):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), error=SpecError)
        if self.confidence is not None:
            checks.choice("confidence", self.confidence, ("mean", "minimum"), error=SpecError)
        if self.characters is not None:
            checks.text("characters", self.characters, error=SpecError)

    @property
    def ends(self) -> list[int]:
        """All tokens that end a sequence."""
        return [*([] if self.eos_id is None else [self.eos_id]), *self.further_ends]

    def to_manifest(self) -> dict[str, Any]:
        """Everything but the outputs, which a manifest lists together with their shapes."""
        return {
            "role": self.role,
            "tokens": {token: getattr(self, f"{token}_id") for token in _TOKENS},
            "characters": self.characters,
            "confidence": self.confidence,
            "keep_ratio": self.keep_ratio,
            "further_ends": list(self.further_ends),
        }

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Interface:
        """Read the interface out of a manifest of format 2."""
        outputs = (Output(o["name"], ValidArea(**o["valid"]) if o["valid"] else None) for o in manifest["outputs"])
        # Artifacts of the first releases name no blank.
        ids = {f"{token}_id": manifest["tokens"].get(token) for token in _TOKENS}
        return cls(
            manifest["role"],
            tuple(outputs),
            **ids,
            characters=manifest["characters"],
            confidence=manifest.get("confidence"),
            keep_ratio=bool(manifest.get("keep_ratio")),
            further_ends=tuple(manifest.get("further_ends", ())),
        )


def a_role(role: str) -> str:
    """A role behind the name of a model; nothing where it has none."""
    return "" if role == OTHER else f", a {role}"


def output_fields(output: Output) -> dict[str, Any]:
    """An output's meaning, as the manifest lists it."""
    valid = None if output.valid is None else {**asdict(output.valid), "axes": list(output.valid.axes)}
    return {"name": output.name, "valid": valid}
