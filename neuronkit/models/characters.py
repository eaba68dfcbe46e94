"""The characters that a recogniser's classes stand for, where the model has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def known_characters(model: Any, count: int) -> str | None:
    """Find the characters of a recogniser, in the order of its classes.

    They are looked up in the model and the network inside it: as a tokenizer (baudm/parseq), a charset, a vocabulary
    (docTR), and in the settings of its training, in this order.

    Args:
        model: The network, or a training system around it in ``model.model``.
        count: How many characters its classes have room for.

    Returns:
        The characters; None where the model does not name exactly `count`.
    """
    for part in (model, getattr(model, "model", None)):
        settings: Any = getattr(part, "hparams", None)
        found = (
            _of_tokenizer(getattr(part, "tokenizer", None)),
            getattr(getattr(part, "charset", None), "characters", getattr(part, "charset", None)),
            getattr(part, "vocab", None),
            settings.get("charset_train") if hasattr(settings, "get") else getattr(settings, "charset_train", None),
        )
        for characters in map(_as_text, found):
            if characters is not None and len(characters) == count:
                return characters
    return None


def _of_tokenizer(tokenizer: Any) -> Any:
    """Tokens that are one character; special ones, such as "[E]", are longer."""
    tokens = getattr(tokenizer, "_itos", None)
    return [t for t in tokens if isinstance(t, str) and len(t) == 1] if isinstance(tokens, (list, tuple)) else None


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(item, str) and len(item) == 1 for item in value):
        return "".join(value)
    return None
