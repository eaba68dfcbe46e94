"""What can be chosen for a Hugging Face encoder–decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuronkit import checks
from neuronkit.adapters.kit.options import ReadingOptions
from neuronkit.errors import OptionError, SpecError
from neuronkit.shown import shown
from neuronkit.static.decoding.decoding import LARGEST_WINDOW
from neuronkit.static.decoding.methods import check_method

# Of a sequence and of a side: one head's attention among so many positions takes 1 GB.
LONGEST = 1 << 14


@dataclass(frozen=True)
class HuggingFaceOptions(ReadingOptions):
    """Sizes, method, and what crosses the border of the graphs. None follows the model.

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
            "windowed" a window of positions a call, drafted as the text went on before, for long outputs; "unrolled"
            all in one graph, "fused" several passes in one graph, which is called again for rows that have not settled.
            "auto" takes "fixed_point", or "fused" on Neuron. A beam search goes one position a call.
        window: Positions of a call of method "windowed", at least 2; None: 16, or the longest sequence where that is
            shorter.
        outputs: "logits", or "tokens": the ids and their probabilities, zero after the end. A beam search gives tokens
            and scores in either case.
        raw_images: Take images as bytes, 0..255, as ``processor(images, do_rescale=False, do_normalize=False)`` gives
            them, and normalise them inside, as `image_processor` does, or `image_mean` and `image_std` say.
        image_processor: The checkpoint's processor, or its image processor; its normalisation is reproduced bit by bit.
        image_mean: Of each colour, taken from levels in 0..1.
        image_std: Of each colour, by which they are divided then.

    Raises:
        SpecError: If a size is not a whole number from 1 to 16384, num_beams is not 1 to 64, window is not 2 to 1024,
            or the prompt has no ids.
        OptionError: If another option has no such value, or `raw_images` and what normalises them do not come together.

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
    image_processor: Any = None
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_method(self.method)
        self._check_normalization()
        highest = dict.fromkeys(("max_length", "source_length", "height", "width"), LONGEST) | {"num_beams": 64}
        for name, high in highest.items():
            checks.set_field(self, name, checks.integer, 1, high, error=SpecError, optional=True)
        if self.prompt is not None:
            ids = checks.items("prompt", self.prompt, "ids", error=SpecError)
            prompt = checks.integers("prompt", ids, max(1, len(ids)), 0, 1 << 31, error=SpecError)
            object.__setattr__(self, "prompt", prompt)
        checks.set_field(self, "window", checks.integer, 2, LARGEST_WINDOW, error=SpecError, optional=True)

    def _check_normalization(self) -> None:
        constants = {name: getattr(self, name) for name in ("image_mean", "image_std")}
        given = [value is not None for value in constants.values()]
        if any(given) != all(given) or (self.image_processor is not None) + all(given) != self.raw_images:
            raise OptionError(
                f"got raw_images={self.raw_images}, image_processor={shown(self.image_processor, 80)}, "
                f"image_mean={shown(self.image_mean, 80)}, image_std={shown(self.image_std, 80)}; expected with "
                "raw_images the processor or both of the others, and without it none; give image_processor="
            )
        for name, values in constants.items():
            if values is not None:
                values = checks.items(name, values, "numbers")
                numbers = checks.numbers(name, values, max(1, len(values)), 0, 1, open_low=name == "image_std")
                object.__setattr__(self, name, numbers)

    def arguments(self) -> dict[str, Any]:
        """What `generate` is called with, for the same result, besides the inputs."""
        given = {"max_new_tokens": self.max_length, "num_beams": self.num_beams}
        return {name: value for name, value in given.items() if value is not None}
