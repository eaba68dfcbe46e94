"""Processors by the settings that an artifact's manifest holds."""

from __future__ import annotations

from typing import Any

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.ocr.craft import CraftProcessor
from neuronkit.ocr.ctc import CtcProcessor
from neuronkit.ocr.parseq import ParseqProcessor

Processor = CraftProcessor | ParseqProcessor

_CLASSES: dict[str, type[CraftProcessor] | type[ParseqProcessor]] = {
    processor.kind: processor for processor in (CraftProcessor, ParseqProcessor, CtcProcessor)
}


def processor_from_dict(settings: dict[str, Any]) -> Processor:
    """Make the processor that `to_dict` described.

    Args:
        settings: What a processor's `to_dict` gave, with its ``"kind"``.

    Raises:
        OptionError: If the kind or a setting is unknown, or a value out of its range.
    """
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise OptionError(f"got processor kind {checks.shown(kind)}; expected one of {sorted(_CLASSES)}; give one")
    return _CLASSES[kind].from_dict(settings)
