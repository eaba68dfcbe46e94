"""The settings that a processor's `to_dict` gives, on their way back."""

from __future__ import annotations

import dataclasses
from typing import Any

from neuronkit.errors import OptionError


def settings_of(cls: type[Any], given: Any) -> dict[str, Any]:
    """Return the settings of a processor's `to_dict` as arguments of its class."""
    kind = getattr(cls, "kind", None)
    if not isinstance(given, dict) or given.get("kind", kind) != kind:
        raise OptionError(f"{given!r:.200} are not settings of a {kind!r} processor; give what its to_dict() returned")
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(str(name) for name in given if name not in names | {"kind"})
    if unknown:
        raise OptionError(
            f"{kind!r} settings {unknown} are unknown; expected some of {sorted(names)}. "
            "A newer release of neuronkit may have written them: update it"
        )
    return {name: value for name, value in given.items() if name != "kind"}
