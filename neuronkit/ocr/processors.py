"""Processors and the models that they belong to: made from a manifest, found for a model, compared with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuronkit.errors import NeuronKitError, OptionError
from neuronkit.interface import DETECTOR, OTHER, PROCESSOR_ROLES, RECOGNIZER, SEQ2SEQ, Interface
from neuronkit.ocr.charset import Charset
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.ctc import CtcProcessor
from neuronkit.ocr.doctr import DoctrProcessor
from neuronkit.ocr.parseq import ParseqProcessor
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec

Reader = ParseqProcessor | DoctrProcessor
Processor = CraftProcessor | Reader

PROCESSORS: tuple[type[Processor], ...] = (CraftProcessor, ParseqProcessor, CtcProcessor, DoctrProcessor)
_CLASSES: dict[str, type[Processor]] = {processor.kind: processor for processor in PROCESSORS}
_WAYS = {
    DETECTOR: "a CraftProcessor",
    RECOGNIZER: "a ParseqProcessor, CtcProcessor or DoctrProcessor",
    SEQ2SEQ: "none, since its own tokenizer reads what it gives",
}


def processor_from_dict(settings: dict[str, Any]) -> Processor:
    """Make the processor that `to_dict` described.

    Args:
        settings: What a processor's `to_dict` gave, with its ``"kind"``.

    Returns:
        The processor.

    Raises:
        OptionError: If the kind or a setting is unknown, or a value out of its range.

    Examples:
        >>> settings = ParseqProcessor(charset="abc").to_dict()
        >>> type(neuronkit.ocr.processor_from_dict(settings)).__name__
        'ParseqProcessor'
    """
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise OptionError(f"got processor kind {shown(kind)}; expected one of {sorted(_CLASSES)}; give one")
    return _CLASSES[kind].from_dict(settings)


def check_processor(
    processor: Any,
    model: Any,
    *,
    role: str | None = None,
    outputs: Sequence[TensorSpec] | None = None,
    error: type[NeuronKitError] = OptionError,
) -> None:
    """Make sure that a processor belongs to a model, as far as the model says what it is.

    Args:
        processor: One of `neuronkit.ocr`'s.
        model: A static or compiled model, or any other: its `interface`, `specs`, `output_specs` and `charset` are
            compared, those of them that it has.
        role: What the two are to be used as: "detector" or "recognizer".
        outputs: The model's outputs, where it does not say.
        error: Class of the error.

    Raises:
        NeuronKitError: Of class `error`, if they do not fit together.
    """
    interface = getattr(model, "interface", None)
    interface = interface if isinstance(interface, Interface) else Interface()
    given = _role_of(processor, error)
    _check_roles(processor, given, interface.role, role, error)
    specs = tuple(getattr(model, "specs", None) or ())
    outputs = outputs if outputs is not None else tuple(getattr(model, "output_specs", None) or ())
    if specs:
        _check_images(processor, specs[0], error)
    if isinstance(processor, (ParseqProcessor, DoctrProcessor)):
        charset = getattr(model, "charset", None)
        known = charset.characters if isinstance(charset, Charset) else interface.characters
        _check_characters(processor, known, error)
        _check_classes(processor, interface, outputs, error)
    elif outputs and (len(outputs[0].shape) != 4 or outputs[0].shape[3] != 2):
        raise error(
            f"got a {type(processor).__name__} for a model that gives {outputs[0]}; expected score maps (N, H, W, 2); "
            "give the detector"
        )


def processor_for(
    interface: Interface, specs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = ()
) -> Processor | None:
    """The default processor of a recogniser whose characters are known, or None.

    Args:
        interface: Of the model.
        specs: Its inputs.
        outputs: Its outputs; empty where they are not known.
    """
    images, characters = specs[0] if specs else None, interface.characters
    if interface.role != RECOGNIZER or characters is None or images is None:
        return None
    if len(images.shape) != 4 or [spec.name for spec in specs[1:]] not in ([], ["valid_width"]):
        return None
    size, raw = (images.shape[2], images.shape[3]), images.dtype == "uint8"
    found: Reader | None = None
    if interface.blank_id == 0 and images.shape[1] in (1, 3):
        channels, keep_ratio = images.shape[1], interface.keep_ratio
        found = CtcProcessor(Charset(characters), size, raw_images=raw, channels=channels, keep_ratio=keep_ratio)
    elif images.shape[1] != 3:
        return None
    elif interface.blank_id == len(characters):
        found = DoctrProcessor(Charset(characters), size, interface.confidence or "minimum", raw_images=raw, ctc=True)
    elif interface.eos_id == 0:
        # BOS and PAD follow the characters; they are classes where the decoder can give them, as TRBA's can.
        classes = outputs[0].shape[-1] if outputs and outputs[0].dtype.startswith(("float", "bfloat")) else 0
        extra = max(0, classes - len(characters) - 1) if interface.pad_id == classes - 1 else 0
        found = ParseqProcessor(Charset(characters), size, raw_images=raw, extra_classes=extra)
    elif interface.eos_id == len(characters):
        found = DoctrProcessor(Charset(characters), size, interface.confidence or "mean", raw_images=raw)
    if found is not None:
        try:
            _check_classes(found, interface, outputs, OptionError)
        except OptionError:
            return None  # Classes of another layout, which no processor reads.
    return found


def _role_of(processor: Any, error: type[NeuronKitError]) -> str:
    """What a processor is for; refuses what a manifest could not bring back."""
    if type(processor) not in PROCESSORS:
        example = "make an instance" if isinstance(processor, type) else "give one of them, or None and call your own"
        names = [known.__name__ for known in PROCESSORS]
        raise error(
            f"got processor={shown(processor)}; expected a {', '.join(names[:-1])} or {names[-1]}, whose settings an "
            f"artifact can hold; {example}"
        )
    processor_from_dict(processor.to_dict())
    return PROCESSOR_ROLES[processor.kind]


def _check_roles(processor: Any, given: str, model_role: str, used_as: str | None, error: type[NeuronKitError]) -> None:
    if used_as is not None and model_role not in (OTHER, used_as):
        raise error(
            f"got a {model_role} as the {used_as}; expected a {used_as}; detector and recognizer seem to be exchanged"
        )
    wanted = used_as or model_role
    if wanted not in (OTHER, given):
        raise error(
            f"got a {type(processor).__name__} for a {wanted}; expected {_WAYS[wanted]}; give the one that belongs to "
            "the model"
        )


def _check_images(processor: Any, images: TensorSpec, error: type[NeuronKitError]) -> None:
    channels = getattr(processor, "channels", 3)
    if len(images.shape) != 4 or images.shape[1] != channels:
        raise error(
            f"got a {type(processor).__name__} for a model that takes {images}; expected images (N, {channels}, "
            "height, width) first; compile without a processor, or give the model such an input"
        )
    size = tuple(images.shape[2:])
    name = "canvas" if isinstance(processor, CraftProcessor) else "image_size"
    chosen = getattr(processor, name)
    if chosen not in (None, size):
        raise error(
            f"got {name}={chosen} (height, width) for a model that takes {images}; expected {size}; give "
            f"{type(processor).__name__}({name}={size})"
        )
    takes_bytes = images.dtype == "uint8"
    if processor.raw_images and not takes_bytes:
        raise error(
            f"got raw_images=True for a model that takes {images}; expected False, or a model that takes uint8; leave "
            "raw_images out, or give the model's options raw_images=True"
        )
    if takes_bytes and not processor.raw_images:
        raise error(
            f"got a {type(processor).__name__} that normalises images for a model that takes {images}, and normalises "
            f"them itself; expected raw bytes; give {type(processor).__name__}(raw_images=True)"
        )


def _check_characters(processor: Reader, known: str | None, error: type[NeuronKitError]) -> None:
    given = Charset.named(processor.charset).characters
    if known is None or given == known:
        return
    if sorted(given) == sorted(known):
        place = next(i for i, (a, b) in enumerate(zip(given, known)) if a != b)
        how = f"the same characters in another order, the first at {place}: {given[place]!r} for {known[place]!r}"
    elif len(given) != len(known):
        how = f"{len(given)} characters for a model of {len(known)}"
    else:
        how = f"other characters, {shown(''.join(sorted(set(given) - set(known))))} among them"
    raise error(
        f"got charset={shown(given)}, {how}; expected {shown(known)}; give the model's own, "
        f"{type(processor).__name__}(charset=model.charset), or leave the processor out"
    )


def _check_blank(processor: Reader, interface: Interface, error: type[NeuronKitError]) -> None:
    """By CTC, or not, as the model says; and with the blank where the model has it."""
    if interface.role != RECOGNIZER or interface.blank_id == interface.eos_id:  # Both None: it does not say.
        return
    blank = 0 if isinstance(processor, CtcProcessor) else None
    if isinstance(processor, DoctrProcessor) and processor.ctc:
        blank = len(processor.characters)
    if blank != interface.blank_id:
        taken, has = (f"class {i}" if i is not None else "no class" for i in (blank, interface.blank_id))
        raise error(
            f"got a {type(processor).__name__} that takes {taken} for the blank; expected {has}, as in the model; give "
            "a CtcProcessor where class 0 is the blank, a DoctrProcessor(ctc=True) where the last one is"
        )


def _extra(interface: Interface, logits: TensorSpec) -> str:
    """A hint where special tokens are among the classes."""
    given = logits.shape[-1] if len(logits.shape) == 3 else 0
    special = [i for i in (interface.bos_id, interface.pad_id) if i is not None and 0 < i < given]
    return f", and extra_classes={len(special)}, since BOS and PAD are classes" if special else ""


def _check_classes(
    processor: Reader,
    interface: Interface,
    outputs: Sequence[TensorSpec],
    error: type[NeuronKitError],
) -> None:
    name, charset = type(processor).__name__, Charset.named(processor.charset)
    _check_blank(processor, interface, error)
    end = len(charset) if isinstance(processor, DoctrProcessor) else 0
    if interface.eos_id not in (None, end) and interface.role == RECOGNIZER:
        other = "ParseqProcessor" if interface.eos_id == 0 else "DoctrProcessor"
        raise error(
            f"got a {name} for a model whose class {interface.eos_id} ends a word; expected one whose class {end} "
            f"does; give a {other}"
        )
    # Token ids and probabilities instead of logits have no classes to count.
    if not outputs or "float" not in outputs[0].dtype:
        return
    # docTR's heads have a class for EOS, and some for the other special tokens, too.
    least = charset.num_classes if isinstance(processor, DoctrProcessor) else processor.num_classes
    most = least + (2 if isinstance(processor, DoctrProcessor) else 0)
    if len(outputs[0].shape) != 3 or not least <= outputs[0].shape[2] <= most:
        raise error(
            f"got a charset of {len(charset)} characters for a model that gives {outputs[0]}; expected logits (N, T, "
            f"{least}); give the charset that the model was trained with{_extra(interface, outputs[0])}"
        )
