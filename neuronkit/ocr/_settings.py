"""The settings of a processor, as a manifest holds them."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeVar

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr.charset import Charset

Processor = TypeVar("Processor", bound="Settings")


class Settings:
    """A dataclass whose fields are settings.

    Attributes:
        kind: Its name in manifests.
    """

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON can hold them."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"kind": self.kind, **{field.name: _plain(getattr(self, field.name)) for field in fields}}

    @classmethod
    def from_dict(cls: type[Processor], settings: dict[str, Any]) -> Processor:
        """Make a processor from what `to_dict` gave.

        Raises:
            OptionError: If a setting is unknown or out of its range.
        """
        arguments = _arguments(cls, settings)
        if isinstance(arguments.get("charset"), str):
            # Always the characters themselves, also where a charset of its own is "36".
            arguments["charset"] = Charset(arguments["charset"])
        return cls(**arguments)


def _plain(value: Any) -> Any:
    if isinstance(value, Charset):
        return value.characters
    return list(value) if isinstance(value, tuple) else value


def _arguments(cls: type[Any], given: Any) -> dict[str, Any]:
    """Return the settings of a processor's `to_dict` as arguments of its class."""
    kind = getattr(cls, "kind", None)
    if not isinstance(given, dict) or checks.shown(given.get("kind", kind)) != checks.shown(kind):
        raise OptionError(
            f"got {checks.shown(given)}; expected settings of a {kind!r} processor; give what its to_dict() returned"
        )
    given = dict(given)
    if isinstance(given.get("normalize"), bool) and "raw_images" not in given:
        # The setting's first name, in artifacts of format 1.
        given["raw_images"] = not given.pop("normalize")
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = [name for name in given if not isinstance(name, str) or name not in names | {"kind"}]
    if unknown:
        raise OptionError(
            f"got {kind!r} settings {checks.shown(unknown)}; expected some of {sorted(names)}; "
            "a newer release of neuronkit may have written them: update it"
        )
    needed = {field.name for field in dataclasses.fields(cls) if field.default is field.default_factory}
    if not needed <= given.keys():
        raise OptionError(
            f"got {kind!r} settings without {', '.join(sorted(needed - given.keys()))}; expected all of them; give "
            "what to_dict() returned"
        )
    return {name: value for name, value in given.items() if name != "kind"}
