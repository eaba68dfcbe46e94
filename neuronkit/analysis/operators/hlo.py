"""Reading HLO text: what is alive in it, and what neuronx-cc would reject."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from neuronkit import tables

_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%(?P<name>[\w.\-]+) \(.*\{\s*$")
_TUPLE = r"\((?:[^()]|\([^()]*\))*\)"
_INSTRUCTION = re.compile(
    rf"^\s+(?P<root>ROOT )?%(?P<name>[\w.\-]+) = (?P<type>{_TUPLE}|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)$"
)
_NAME = re.compile(r"%([\w.\-]+)")
_DTYPE = re.compile(r"\b(pred|[a-z]+\d+\w*)\[")
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
# They name a value and compute nothing.
_NAMES_ONLY = frozenset({"parameter", "constant", "tuple", "get-tuple-element"})


@dataclass(frozen=True)
class Instruction:
    """One HLO instruction.

    Attributes:
        name: Unique in the module.
        opcode: Such as ``"dot"``.
        result: Its type as text, such as ``"f32[2,3]{1,0}"``.
        rest: Operands and attributes as text.
    """

    name: str
    opcode: str
    result: str
    rest: str

    @property
    def operand_dtypes(self) -> set[str]:
        """Dtypes among operands and result."""
        return set(_DTYPE.findall(self.rest)) | set(_DTYPE.findall(self.result))


@dataclass(frozen=True)
class Hlo:
    """The instructions of an HLO module that its result depends on.

    torch-xla also writes what is not used, such as the indices of a max pool; every compiler drops that first.
    """

    live: tuple[Instruction, ...] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Opcode → count, most frequent first; names of values not counted."""
        counted = Counter(i.opcode for i in self.live if i.opcode not in _NAMES_ONLY)
        return dict(counted.most_common())

    @property
    def custom_calls(self) -> dict[str, int]:
        """Custom call target → count."""
        return dict(Counter(target for i in self.live for target in _TARGET.findall(i.rest)))

    @property
    def dtypes(self) -> set[str]:
        """Every dtype, as HLO writes it: ``"f32"``, ``"s64"``."""
        return {dtype for i in self.live for dtype in _DTYPE.findall(i.result)}


def parse(text: str) -> Hlo:
    """Read HLO text as XLA prints it, before any optimisation."""
    computations: dict[str, dict[str, Instruction]] = {}
    roots: dict[str, str] = {}
    entry = current = ""
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        found = _INSTRUCTION.match(line)
        if header:
            current = header["name"]
            computations[current] = {}
            entry = current if header["entry"] else entry
        elif found:
            computations[current][found["name"]] = Instruction(
                found["name"], found["opcode"], found["type"], found["rest"]
            )
            if found["root"]:
                roots[current] = found["name"]
    return Hlo(tuple(_alive(computations, roots, entry))) if entry else Hlo(())


def _alive(computations: dict[str, dict[str, Instruction]], roots: dict[str, str], entry: str) -> Iterator[Instruction]:
    pending, seen = [(entry, roots[entry])], set()
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        computation, name = place
        instruction = computations[computation][name]
        yield instruction
        for mentioned in _NAME.findall(instruction.rest):
            if mentioned in computations[computation]:
                pending.append((computation, mentioned))
            elif mentioned in computations:
                pending.append((mentioned, roots[mentioned]))


def rejected(hlo: Hlo) -> Iterator[tuple[str, str]]:
    """(Instruction, reason) of everything that neuronx-cc documents to reject."""
    messages = tables.compiler_messages().codes
    for instruction in hlo.live:
        code = _rejection(instruction)
        if code is not None:
            yield instruction.opcode, f"{messages[code].meaning} ({code})"
    known = tables.hlo_instructions().custom_call_targets
    for target in hlo.custom_calls:
        if target not in known:
            yield f"custom-call {target}", "neuronx-cc does not recognise it (NCC_EHCA005)"


def _rejection(instruction: Instruction) -> str | None:
    opcode, dtypes = instruction.opcode, instruction.operand_dtypes
    if opcode == "dot" and "s64" in dtypes:
        return "NCC_EVRF035"
    if opcode == "power" and "s64" in dtypes:
        return "NCC_EVRF062"
    if opcode == "convolution" and "lhs_dilate=" in instruction.rest:
        if "rhs_dilate=" in instruction.rest:
            return "NCC_EVRF010"
        if "stride=" in instruction.rest:
            return "NCC_EVRF011"
    if opcode == "reduce-window":
        if "lhs_dilate=" in instruction.rest:
            return "NCC_EVRF017"
        if "rhs_dilate=" in instruction.rest:
            return "NCC_EVRF018"
    if opcode in ("infeed", "outfeed", "get-dimension-size", "set-dimension-size") or "<=" in instruction.result:
        return "NCC_EMOD025"
    return None
