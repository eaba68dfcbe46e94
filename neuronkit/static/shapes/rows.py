"""Any number of rows through a callable of a fixed batch; rows that need more calls ride with those that follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_END = object()
Rows = tuple[Tensor, ...]
"""Tensors with the same number of rows, one for each input."""


@dataclass(frozen=True)
class Carry:
    """How rows go on that one call of a graph has not settled.

    The graph takes ``start`` (N, steps) int32 after its other inputs, -1 for a row that begins. It gives logits and
    tokens (N, steps) int32, or tokens and their probabilities; and ``settled`` (N,) int32. The tokens of a row that has
    not settled are those from which it goes on.

    Attributes:
        steps: Length of a row's tokens.
        calls: After so many a row is right, whatever it says.
        gives_tokens: Whether tokens and probabilities are the result, and not logits.
    """

    steps: int
    calls: int
    gives_tokens: bool = False

    def split(self, outputs: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Outputs of the graph → results, tokens (N, T) int32 to go on from, and settled (N,)."""
        first, second, settled = outputs
        return ((first, second), first, settled) if self.gives_tokens else (first, second, settled)


def carry_of(model: Any) -> Carry | None:
    """How rows of a model go on. If it says so, it takes any number of rows, and its method ``step`` a batch."""
    carry = getattr(model, "carry", None)
    return carry if isinstance(carry, Carry) else None


class RowStream:
    """Runs rows in batches. Groups of rows share them, and come back whole and in order.

    Rows that have not settled are put before the rows that wait, so that they fill up the next batch.

    Args:
        function: Takes tensors of `batch_size` rows, gives a tensor or a tuple of tensors of as many.
        batch_size: Rows of a call.
        carry: For a graph that says which rows have settled; None where one call is enough.
        fill: Whether the last batch is filled up, with copies of a valid row; else it is shorter.
    """

    def __init__(
        self, function: Callable[..., Any], batch_size: int, carry: Carry | None = None, *, fill: bool = True
    ) -> None:
        self._function, self._batch_size, self._carry, self._fill = function, batch_size, carry, fill

    def __call__(self, *inputs: Tensor) -> Any:
        """Run one group of at least one row; gives what the function returns for it, without tokens and settled."""
        return next(self.stream([inputs]))

    def stream(self, groups: Iterable[Rows], ahead: int = 1) -> Iterator[Any]:
        """Run groups; as `finished`, and in order.

        Yields:
            What the function returns for each group; None for a group without rows.
        """
        ready: dict[int, Any] = {}
        place = 0
        for index, outputs in self.finished(groups, ahead):
            ready[index] = outputs
            while place in ready:
                yield ready.pop(place)
                place += 1

    def finished(self, groups: Iterable[Rows | None], ahead: int) -> Iterator[tuple[int, Any]]:
        """Run groups, and give each as soon as all its rows are done.

        Args:
            groups: The inputs of each. The next one is taken when a batch has room for it; None stands for no
                group, and says that none is there now: what waits is then run in a batch that is not full.
            ahead: Most groups that are held, with the same effect.

        Yields:
            The number of a group, counted from 0, and what the function returns for it.
        """
        source, held, waiting = iter(groups), dict[int, _Group](), deque[_Row]()
        more, count = True, 0
        while more or held:
            while more and len(held) < ahead and len(waiting) < self._batch_size:
                inputs = next(source, _END)
                more = inputs is not _END
                if not more or inputs is None:
                    break
                held[count] = _Group(len(inputs[0]))  # type: ignore[index, arg-type]
                # A group has no reference to its rows: in a cycle, images would stay until the next garbage collection.
                waiting.extend(_Row(held[count], i, row) for i, row in enumerate(zip(*inputs)))  # type: ignore[misc]
                count += 1
            if waiting:
                self._run([waiting.popleft() for _ in range(min(self._batch_size, len(waiting)))], waiting)
            for index in [index for index, group in held.items() if not group.left]:
                yield index, held.pop(index).outputs()

    def _run(self, rows: list[_Row], waiting: deque[_Row]) -> None:
        """Run a batch; rows that have to go on are put before those that wait."""
        inputs = [_stack(column) for column in zip(*(row.inputs for row in rows))]
        if self._carry is not None:
            start = torch.full((len(rows), self._carry.steps), -1, dtype=torch.int32)
            for place, row in enumerate(rows):
                if row.start is not None:
                    start[place] = torch.as_tensor(row.start)
            inputs.append(start)
        if self._fill and len(rows) < self._batch_size:
            inputs = [torch.cat([x, x[:1].expand(self._batch_size - len(rows), *x.shape[1:])]) for x in inputs]
        outputs = self._function(*inputs)
        if self._carry is None:
            for place, row in enumerate(rows):
                row.finish(outputs, place)
            return
        results, tokens, settled = self._carry.split(outputs)
        left = []
        for place, (row, done) in enumerate(zip(rows, settled.tolist())):
            row.calls += 1
            if done or row.calls >= self._carry.calls:
                row.finish(results, place)
            else:
                row.start = tokens[place]
                left.append(row)
        waiting.extendleft(reversed(left))


class _Row:
    def __init__(self, group: _Group, index: int, inputs: Sequence[Tensor]) -> None:
        self._group, self._index, self.inputs = group, index, inputs
        self.start: Any = None
        self.calls = 0

    def finish(self, outputs: Any, place: int) -> None:
        """Keep what a batch gave for this row."""
        self._group.keep(self._index, outputs, place)


class _Group:
    def __init__(self, count: int) -> None:
        self.left = count
        self._results: list[Any] = [None] * self.left

    def keep(self, index: int, outputs: Any, place: int) -> None:
        self._results[index] = [x[place] for x in outputs] if isinstance(outputs, (tuple, list)) else outputs[place]
        self.left -= 1

    def outputs(self) -> Any:
        if not self._results:
            return None
        if isinstance(self._results[0], list):
            return tuple(map(_stack, zip(*self._results)))
        return _stack(self._results)


def _stack(rows: Sequence[Any]) -> Any:
    if not isinstance(rows[0], Tensor):
        return np.stack(rows)
    return torch.stack(tuple(rows)) if len(rows) > 1 else rows[0].unsqueeze(0)
