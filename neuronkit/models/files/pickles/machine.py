"""What a pickle may make: containers, numbers, strings and tensors. There is no way to import or call anything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from neuronkit.models.files.pickles.known import BUILDERS
from neuronkit.models.files.pickles.numpy_values import NumpyArray, NumpyType
from neuronkit.models.files.pickles.standins import Name, StandIn, as_key
from neuronkit.models.files.source import Budget, Damaged, Source

_LONGEST_INTEGER = 1024


class Machine:
    """The stack and memory of a pickle that is being read, and what opcodes do with them.

    Args:
        source: Where the pickle stands.
        budget: What it may cost.
        find_storage: Gives the storage, or another value, for a persistent id.
    """

    def __init__(self, source: Source, budget: Budget, find_storage: Callable[[tuple[Any, ...]], Any]) -> None:
        self.source, self.budget, self.find_storage = source, budget, find_storage
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_container(self, value: Any, items: int = 0) -> None:
        self.budget.spend(Budget.CONTAINER + 16 * items)
        self.stack.append(value)

    def push_bytes(self, count: int) -> None:
        self.stack.append(self.source.take(count))
        self.budget.spend(count)

    def push_text(self, count: int) -> None:
        self.stack.append(self.source.take(count).decode("utf-8", "surrogatepass"))
        self.budget.spend(4 * count)

    def push_integer(self, count: int) -> None:
        if count > _LONGEST_INTEGER:
            raise Damaged(f"it holds an integer of {count} bytes")
        self.stack.append(int.from_bytes(self.source.take(count), "little", signed=True))

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.source.take(struct.calcsize(layout)))[0]

    def make(self, function: Any, arguments: Any) -> None:
        """Push what `function`, a name, makes of `arguments`: a known value, or a stand-in for an unknown one."""
        if not isinstance(arguments, tuple):
            raise Damaged("its pickle calls something without arguments")
        builder = BUILDERS.get((function.module, function.name)) if isinstance(function, Name) else None
        if builder is not None:
            self.push_container(builder(self.budget, *arguments))
        elif isinstance(function, (Name, StandIn)):
            self.push_container(StandIn(function.kind if isinstance(function, StandIn) else function.full))
        else:
            raise Damaged(f"its pickle calls a {type(function).__name__}")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        self.budget.spend(100 * len(items))
        pairs = {as_key(items[i]): items[i + 1] for i in range(0, len(items), 2)}
        if isinstance(target, StandIn):
            target.items = {} if target.items is None else target.items
            target.items.update(pairs)
        elif type(target) is dict:
            target.update(pairs)
        else:
            raise Damaged(f"its pickle sets items of a {type(target).__name__}")

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        self.budget.spend(16 * len(items))
        if isinstance(target, StandIn):
            target.elements = [] if target.elements is None else target.elements
            target.elements.extend(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise Damaged(f"its pickle appends to a {type(target).__name__}")

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, (StandIn, NumpyType, NumpyArray)):
            target.build(state)
        # The state of anything else (an OrderedDict's attributes, a parameter's) is of no use here.
