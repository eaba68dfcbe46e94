"""What each opcode of a pickle does (https://docs.python.org/3/library/pickletools.html lists them)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from neuronkit.models.files.pickles.machine import Machine
from neuronkit.models.files.pickles.standins import Name, as_key
from neuronkit.models.files.source import Budget, Damaged

Step = Callable[[Machine], None]

STOP = ord(".")
_LONGEST_TEXT = 1024


def _pop_call(machine: Machine) -> None:
    arguments = machine.stack.pop()
    machine.make(machine.stack.pop(), arguments)


def _pop_call_keywords(machine: Machine) -> None:
    machine.stack.pop()
    _pop_call(machine)


def _call_marked(machine: Machine) -> None:
    function, *arguments = machine.pop_mark()
    machine.make(function, tuple(arguments))


def _instance(machine: Machine) -> None:
    name = Name(machine.source.line(), machine.source.line())
    machine.make(name, tuple(machine.pop_mark()))


def _stack_name(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise Damaged("its pickle names something by no text")
    machine.push_container(Name(module, name))


def _persistent(machine: Machine) -> None:
    identity = machine.stack.pop()
    if not isinstance(identity, tuple):
        raise Damaged(f"its pickle refers to data by a {type(identity).__name__}")
    machine.push_container(machine.find_storage(identity))


def _tuple_of(count: int) -> Step:
    def step(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise Damaged("its pickle is malformed")
        items = tuple(machine.stack[-count:])
        del machine.stack[-count:]
        machine.push_container(items)

    return step


def _marked(make: Callable[[list[Any]], Any]) -> Step:
    def step(machine: Machine) -> None:
        items = machine.pop_mark()
        machine.push_container(make(items), 4 * len(items))

    return step


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {as_key(items[i]): items[i + 1] for i in range(0, len(items), 2)}


def _keys(items: list[Any]) -> frozenset[Any]:
    return frozenset(map(as_key, items))


def _add_items(machine: Machine) -> None:
    items = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is not set:
        raise Damaged(f"its pickle adds to a {type(target).__name__}")
    machine.budget.spend(64 * len(items))
    target.update(map(as_key, items))


def _mark(machine: Machine) -> None:
    machine.budget.spend(Budget.CONTAINER)
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _pop_marked(machine: Machine) -> None:
    machine.pop_mark()


def _remember(layout: str | None) -> Step:
    def step(machine: Machine) -> None:
        index = len(machine.memo) if layout is None else machine.number(layout)
        machine.memo[index] = machine.stack[-1]

    return step


def _old_text(count_layout: str) -> Step:
    """Strings of Python 2: text where they decode, bytes where they do not."""

    def step(machine: Machine) -> None:
        machine.push_bytes(machine.number(count_layout))
        with contextlib.suppress(UnicodeDecodeError):
            machine.stack[-1] = machine.stack[-1].decode("utf-8")

    return step


def _old_integer(machine: Machine) -> None:
    text = machine.source.line().removesuffix("L")
    if len(text) > _LONGEST_TEXT:
        raise Damaged(f"it holds an integer of {len(text)} digits")
    machine.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text))


def _extension(layout: str) -> Step:
    """Codes of the running process's registry of classes, which is not read."""

    def step(machine: Machine) -> None:
        machine.push_container(Name("copyreg", f"extension {machine.number(layout)}"))

    return step


def _value(value: Any) -> Step:
    return lambda machine: machine.push(value)


def _push_number(layout: str) -> Step:
    return lambda machine: machine.push(machine.number(layout))


def _recall(layout: str) -> Step:
    return lambda machine: machine.push(machine.memo[machine.number(layout)])


def _skip(count: int) -> Step:
    def step(machine: Machine) -> None:
        machine.source.take(count)

    return step


_BY_CODE: dict[bytes, Step] = {
    b"\x80": _skip(1),  # PROTO
    b"\x95": _skip(8),  # FRAME
    b"N": _value(None),
    b"\x88": _value(True),
    b"\x89": _value(False),
    b"J": _push_number("<i"),
    b"K": _push_number("<B"),
    b"M": _push_number("<H"),
    b"I": _old_integer,
    b"L": _old_integer,
    b"\x8a": lambda machine: machine.push_integer(machine.number("<B")),
    b"\x8b": lambda machine: machine.push_integer(machine.number("<I")),
    b"G": _push_number(">d"),
    b"X": lambda machine: machine.push_text(machine.number("<I")),
    b"\x8c": lambda machine: machine.push_text(machine.number("<B")),
    b"\x8d": lambda machine: machine.push_text(machine.number("<Q")),
    b"B": lambda machine: machine.push_bytes(machine.number("<I")),
    b"C": lambda machine: machine.push_bytes(machine.number("<B")),
    b"\x8e": lambda machine: machine.push_bytes(machine.number("<Q")),
    b"\x96": lambda machine: machine.push_bytes(machine.number("<Q")),
    b"U": _old_text("<B"),
    b"T": _old_text("<I"),
    b"(": _mark,
    b"0": _pop,
    b"1": _pop_marked,
    b"2": lambda machine: machine.push(machine.stack[-1]),
    b")": _value(()),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"t": _marked(tuple),
    b"]": lambda machine: machine.push_container([]),
    b"l": _marked(list),
    b"}": lambda machine: machine.push_container({}),
    b"d": _marked(_pairs),
    b"\x8f": lambda machine: machine.push_container(set()),
    b"\x91": _marked(_keys),
    b"\x90": _add_items,
    b"a": lambda machine: machine.extend([machine.stack.pop()]),
    b"e": lambda machine: machine.extend(machine.pop_mark()),
    b"s": lambda machine: machine.set_items([machine.stack.pop(), machine.stack.pop()][::-1]),
    b"u": lambda machine: machine.set_items(machine.pop_mark()),
    b"c": lambda machine: machine.push_container(Name(machine.source.line(), machine.source.line())),
    b"\x93": _stack_name,
    b"R": _pop_call,
    b"\x81": _pop_call,
    b"\x92": _pop_call_keywords,
    b"o": _call_marked,
    b"i": _instance,
    b"b": Machine.build,
    b"Q": _persistent,
    b"\x82": _extension("<B"),
    b"\x83": _extension("<H"),
    b"\x84": _extension("<i"),
    b"h": _recall("<B"),
    b"j": _recall("<I"),
    b"q": _remember("<B"),
    b"r": _remember("<I"),
    b"\x94": _remember(None),
}
STEPS: dict[int, Step] = {code[0]: step for code, step in _BY_CODE.items()}
