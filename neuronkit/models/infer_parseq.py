"""PARSeq as a checkpoint describes it: sizes from its tensors, the rest from its settings or a guess."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from neuronkit.errors import AssumptionWarning, CheckpointError, OptionError
from neuronkit.models.contents import CHARSET_KEYS, Contents
from neuronkit.models.parseq import PARSeq
from neuronkit.ocr.charset import NAMED_CHARSETS, Charset
from neuronkit.shown import shown

_STACKLEVEL = 3


def infer_parseq(
    cls: type[PARSeq], contents: Contents, charset: Charset | None, heads: tuple[int, int] | None, label: str
) -> PARSeq:
    """Build the PARSeq that tensors, settings and arguments describe; warn of what had to be assumed."""
    sizes = _parseq_sizes(cls, contents, label)
    settings = contents.settings
    for name, value in sizes.items():
        if name in settings and not _same(settings[name], value):
            raise CheckpointError(
                f"{label}: got {name}={shown(settings[name], 80)} in its settings and {value} in its tensors; expected "
                "them to agree; build the model yourself and pass it"
            )
    assumed: dict[str, str] = {}
    characters = _characters(contents, charset, assumed, cls, label)
    sizes.update(_heads(settings, heads, sizes["embed_dim"], assumed, label))
    patches = contents.shape("encoder.pos_embed", 3, cls, label)[1]
    sizes["img_size"] = _image_size(settings.get("img_size"), patches, sizes["patch_size"], assumed, label)
    rest = {name: settings[name] for name in ("decode_ar", "refine_iters", "dropout") if name in settings}
    try:
        model = cls(characters, **sizes, **rest)
    except OptionError as error:
        raise CheckpointError(f"{label}: its settings do not make a {cls.__name__}: {error}") from error
    if assumed:
        warnings.warn(
            f"{label}: got weights that do not say everything; assumed {', '.join(assumed.values())}; "
            f"where this is wrong, pass {', '.join(assumed)}",
            AssumptionWarning,
            stacklevel=_STACKLEVEL,
        )
    return model


def file_charset(settings: Mapping[str, Any], label: str) -> str | None:
    """The characters that the file states, in the order of training.

    Raises:
        CheckpointError: If they are neither text nor a list of single characters.
    """
    given = next((settings[key] for key in CHARSET_KEYS if settings.get(key)), None)
    if isinstance(given, list) and all(isinstance(item, str) and len(item) == 1 for item in given):
        return "".join(given)
    if given is None or isinstance(given, str):
        return NAMED_CHARSETS.get(given, given) if given else None
    if type(given) is int and str(given) in NAMED_CHARSETS:
        return NAMED_CHARSETS[str(given)]
    raise CheckpointError(
        f"{label}: got the charset {shown(given, 80)}; expected a text, or a list of single characters; "
        "build the model yourself and pass it"
    )


def _characters(contents: Contents, given: Charset | None, assumed: dict[str, str], cls: type, label: str) -> str:
    stated = file_charset(contents.settings, label)
    size = contents.shape("head.weight", 2, cls, label)[0] - 1
    if given is not None and stated is not None and given.characters != stated:
        raise CheckpointError(
            f"{label}: got charset={shown(given.characters, 80)}; expected {shown(stated, 80)}, which the file was "
            "trained on; leave charset= out"
        )
    characters = given.characters if given is not None else stated
    if characters is None and str(size) in NAMED_CHARSETS:
        characters = NAMED_CHARSETS[str(size)]
        assumed["charset="] = f"the {size} characters {shown(characters, 100)}"
    if characters is None:
        raise CheckpointError(
            f"{label}: got a model of {size} characters that does not say which; expected a charset; "
            "pass charset= with the characters in the order of training"
        )
    if len(characters) != size:
        source = "charset=" if given is not None else "its settings"
        raise CheckpointError(
            f"{label}: got {len(characters)} characters from {source}; expected {size}, as many as its head "
            "has classes for; pass charset= with the characters in the order of training"
        )
    return characters


def _heads(
    settings: Mapping[str, Any], given: tuple[int, int] | None, width: int, assumed: dict[str, str], label: str
) -> dict[str, Any]:
    names = ("enc_num_heads", "dec_num_heads")
    stated = {name: settings[name] for name in names if name in settings}
    wanted = dict(zip(names, given)) if given else {}
    if any(not _same(stated[name], number) for name, number in wanted.items() if name in stated):
        raise CheckpointError(
            f"{label}: got heads={given}; expected {', '.join(f'{k}={shown(v, 40)}' for k, v in stated.items())}, "
            "which the file was trained with; leave heads= out"
        )
    # The published models have 64 channels in a head of the encoder, 32 in one of the decoder.
    guesses = {"enc_num_heads": max(1, width // 64), "dec_num_heads": max(1, width // 32)}
    result = {**guesses, **stated, **wanted}
    guessed = [name for name in names if name not in stated and name not in wanted]
    if any(width % guesses[name] for name in guessed):
        raise CheckpointError(
            f"{label}: got a width of {width} and no number of heads; expected a file that states it; "
            "pass heads=(encoder, decoder)"
        )
    if guessed:
        places = {"enc_num_heads": "encoder", "dec_num_heads": "decoder"}
        assumed["heads="] = "heads: " + " and ".join(f"{result[name]} in the {places[name]}" for name in guessed)
    return result


def _parseq_sizes(cls: type, contents: Contents, label: str) -> dict[str, Any]:
    _, positions, width = contents.shape("pos_queries", 3, cls, label)
    patch = contents.shape("encoder.patch_embed.proj.weight", 4, cls, label)[2:]
    sizes: dict[str, Any] = {"max_label_length": positions - 1, "patch_size": patch, "embed_dim": width}
    for part, first in (("enc", "encoder.blocks.{}.mlp.fc1.weight"), ("dec", "decoder.layers.{}.linear1.weight")):
        hidden = contents.shape(first.format(0), 2, cls, label)[0]
        ratio, depth = hidden // max(1, width), 0
        while getattr(contents.state.get(first.format(depth)), "shape", None) == (ratio * width, width) and width:
            depth += 1
        if not depth:
            raise CheckpointError(
                f"{label}: got {first.format(0)} of {hidden} rows; expected a multiple of the width, {width}; "
                "build the model yourself and pass it"
            )
        sizes |= {f"{part}_mlp_ratio": ratio, f"{part}_depth": depth}
    return sizes


def _image_size(
    stated: Any, patches: int, patch: tuple[int, ...], assumed: dict[str, str], label: str
) -> tuple[int, int]:
    """As stated; else that of the published models, 32 x 128 pixels or a square."""
    if stated is not None:
        pair = [stated] * 2 if type(stated) is int else stated
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and n > 0 for n in pair)
        if not whole or pair[0] // patch[0] * (pair[1] // patch[1]) != patches:
            raise CheckpointError(
                f"{label}: got img_size={shown(stated, 80)} in its settings; expected a size of {patches} patches of "
                f"{patch[0]} x {patch[1]} pixels; build the model yourself and pass it"
            )
        return pair[0], pair[1]
    side = math.isqrt(patches)
    if patches * math.prod(patch) == 32 * 128 and 32 % patch[0] == 0 and 128 % patch[1] == 0:
        size = 32, 128
        if not assumed:  # the default of PARSeq, and no guess where everything else is known
            return size
    elif side * side == patches:
        size = side * patch[0], side * patch[1]
    else:
        raise CheckpointError(
            f"{label}: got {patches} patches of {patch[0]} x {patch[1]} pixels, which are of no published image size; "
            "expected a size that follows from them; pass a model, PARSeq(..., img_size=(height, width))"
        )
    assumed["PARSeq(..., img_size=...)"] = f"images of {size[0]} x {size[1]} pixels"
    return size


def _same(stated: Any, value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(stated == list(value)) or (type(stated) is int and set(value) == {stated})
    return not isinstance(stated, bool) and bool(stated == value)
