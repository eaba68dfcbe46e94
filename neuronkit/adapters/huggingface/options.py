"""What can be chosen for a Hugging Face encoder–decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuronkit import checks
from neuronkit.errors import SpecError

# Of a sequence and of a side: one head's attention among so many positions takes 1 GB.
LONGEST = 1 << 14


@dataclass(frozen=True)
class HuggingFaceOptions:
    """Sizes and method. None follows the model.

    Args:
        max_length: Longest sequence that is decoded, in new tokens, EOS counted and the start not; what `generate`
            calls `max_new_tokens`.
        source_length: Length of a text given to the encoder, in tokens; shorter ones are padded and masked.
        height: Of an image given to the encoder, in pixels.
        width: Of an image given to the encoder, in pixels.
        num_beams: Beams of a beam search; 1 decodes greedily.
        prompt: Ids that the decoder starts from in every row, such as Donut's task; `generate` takes them as
            `decoder_input_ids`. None starts from the model's own token.
        method: "fixed_point" decodes all positions at once until they stop changing, "stepwise" one position a call,
            "unrolled" all in one graph. "auto" takes "fixed_point". A beam search goes one position a call.

    Raises:
        SpecError: If a size is not a whole number from 1 to 16384, num_beams is not 1 to 64, or the prompt has no ids.

    Examples:
        >>> neuronkit.HuggingFaceOptions(max_length=32, method="stepwise").max_length
        32
    """

    max_length: int | None = None
    source_length: int | None = None
    height: int | None = None
    width: int | None = None
    num_beams: int | None = None
    prompt: tuple[int, ...] | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        highest = dict.fromkeys(("max_length", "source_length", "height", "width"), LONGEST) | {"num_beams": 64}
        for name, high in highest.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checks.integer(name, value, 1, high, error=SpecError))
        if self.prompt is not None:
            ids = checks.items("prompt", self.prompt, "ids", error=SpecError)
            prompt = checks.integers("prompt", ids, max(1, len(ids)), 0, 1 << 31, error=SpecError)
            object.__setattr__(self, "prompt", prompt)

    def arguments(self) -> dict[str, Any]:
        """What `generate` is called with, for the same result, beside the inputs."""
        given = {"max_new_tokens": self.max_length, "num_beams": self.num_beams}
        return {name: value for name, value in given.items() if value is not None}
