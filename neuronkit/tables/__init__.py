"""Operators, compiler errors and hardware as the Neuron documentation lists them: package data.

Each table names its source. A table is read when its function is first called, and kept.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limited:
    """An operator that Inf1 takes under a condition.

    Attributes:
        condition: In words.
        since: The torch-neuron release that brought it.

    Examples:
        >>> bool(next(iter(neuronkit.tables.inf1_operators().limited.values())).condition)
        True
    """

    condition: str
    since: str


@dataclass(frozen=True)
class Inf1Operators:
    """What torch-neuron compiles, by operator kind (``"aten::relu"``).

    Attributes:
        supported: Kind → torch-neuron release that brought it.
        limited: Kind → its condition.
        removed: Kind → why a later release dropped it.
        unlisted: Kind → remark, for kinds that are often looked for and were never in the list.
        precision_sensitive: Kinds whose index outputs depend on rounding.
        source: Where the list comes from.

    Examples:
        >>> "aten::relu" in neuronkit.tables.inf1_operators().supported
        True
    """

    supported: Mapping[str, str]
    limited: Mapping[str, Limited]
    removed: Mapping[str, str]
    unlisted: Mapping[str, str]
    precision_sensitive: frozenset[str]
    source: str


@dataclass(frozen=True)
class XlaOperators:
    """What torch-xla 2.9, the front end of torch-neuronx, lowers.

    Attributes:
        lowered: ATen names with overload (``"add.Tensor"``, ``"relu"``).
        special_cases: ATen name → what becomes of it on Neuron.
        source: Where the list comes from.

    Examples:
        >>> len(neuronkit.tables.xla_operators().lowered) > 100
        True
    """

    lowered: frozenset[str]
    special_cases: Mapping[str, str]
    source: str


@dataclass(frozen=True)
class HloInstructions:
    """The HLO instructions that neuronx-cc takes.

    Attributes:
        conditions: Instruction → condition, empty where there is none. Known to be incomplete: `note` says how.
        custom_call_targets: The custom calls it recognises.
        verifier_constraints: Error code → what raises it.
        note: What the list misses.
        source: Where the list comes from.

    Examples:
        >>> neuronkit.tables.hlo_instructions().note != ""
        True
    """

    conditions: Mapping[str, str]
    custom_call_targets: frozenset[str]
    verifier_constraints: Mapping[str, str]
    note: str
    source: str


@dataclass(frozen=True)
class CompilerMessage:
    """An error code or message of the compiler, explained.

    Attributes:
        meaning: In a few words.
        workaround: What its documentation recommends.
        advice: What to do about it in an OCR model; empty where nothing is to be added.
        source: The page or thread that describes it.

    Examples:
        >>> message = next(iter(neuronkit.tables.compiler_messages().codes.values()))
        >>> bool(message.meaning)
        True
    """

    meaning: str
    workaround: str
    advice: str
    source: str

    @property
    def hint(self) -> str:
        """Meaning and way out, in one line."""
        return f"{self.meaning}: {'; '.join(filter(None, (self.workaround, self.advice)))}"


@dataclass(frozen=True)
class CompilerMessages:
    """Error codes and messages of the compilers, explained.

    Attributes:
        codes: Code (``"NCC_EVRF001"``) → explanation.
        texts: Piece of text that the compiler prints → explanation, for failures without a code.

    Examples:
        >>> len(neuronkit.tables.compiler_messages().codes) > 10
        True
    """

    codes: Mapping[str, CompilerMessage]
    texts: Mapping[str, CompilerMessage]


@functools.cache
def inf1_operators() -> Inf1Operators:
    """Operators of torch-neuron 1.13.1.2.11, the last release for Inf1."""
    table = _read("inf1_ops")
    return Inf1Operators(
        supported=table["supported"],
        limited={kind: Limited(**fields) for kind, fields in table["limited"].items()},
        removed=table["removed"],
        unlisted=table["unlisted"],
        precision_sensitive=frozenset(table["precision_sensitive"]),
        source=table["source"],
    )


@functools.cache
def xla_operators() -> XlaOperators:
    """ATen operators that torch-xla 2.9 lowers."""
    table = _read("neuronx_aten")
    return XlaOperators(frozenset(table["lowered"]), table["special_cases"], table["source"])


@functools.cache
def hlo_instructions() -> HloInstructions:
    """HLO instructions of neuronx-cc."""
    table = _read("neuronx_hlo")
    return HloInstructions(
        conditions=table["instructions"],
        custom_call_targets=frozenset(table["custom_call_targets"]),
        verifier_constraints=table["verifier_constraints"],
        note=table["note"],
        source=table["source"],
    )


@functools.cache
def compiler_messages() -> CompilerMessages:
    """Error codes and messages of neuron-cc and neuronx-cc."""
    table = _read("ncc_errors")
    return CompilerMessages(
        codes={code: _message(fields) for code, fields in table["codes"].items()},
        texts={text: _message(fields) for text, fields in table["messages"].items()},
    )


@functools.cache
def hardware() -> Mapping[str, Any]:
    """Chips, instances and prices, as published.

    Returns:
        ``"chips"``: name → cores, teraFLOPS by type, memory and its bandwidth;
        ``"instances"``: name → chip, number of chips and cores, US dollars an hour where they are public;
        ``"source"``, ``"price_sources"`` and ``"notes"``: where it comes from, and what is missing.
    """
    return _read("hardware")


def _message(fields: dict[str, str]) -> CompilerMessage:
    return CompilerMessage(fields["meaning"], fields["workaround"], fields.get("advice", ""), fields["source"])


def _read(name: str) -> dict[str, Any]:
    text = importlib.resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
