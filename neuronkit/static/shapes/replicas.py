"""Any number of rows, spread over several copies of one compiled graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import methodcaller
from queue import SimpleQueue
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from neuronkit import checks, tensors
from neuronkit.errors import OptionError, SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import row_chunks
from neuronkit.static.shapes.checks import as_specs, check_pickles
from neuronkit.static.shapes.fixed import FixedShape
from neuronkit.static.shapes.rows import Carry, RowStream
from neuronkit.static.trees import map_tensors, transpose
from neuronkit.threads.turns import Turns

_starting = Turns()


class Replicas:
    """Splits the rows of its inputs into batches, runs these on all copies at once, and joins the results in order.

    The last batch is filled up with copies of a valid row, which are cut off again; inputs smaller than the canvas are
    padded as `FixedShape` does. Several threads may call it; each copy works on one batch at a time. A process that was
    forked makes its own threads at the first call. It pickles where its functions do.

    Args:
        functions: The copies. Each takes tensors of `specs`; or, where there are fewer functions than `copies`, that
            many times the rows, which it spreads over its own share of the copies.
        specs: The inputs of one copy, in order.
        copies: How many batches are computed at once; None is one for each function.
        processor: The pre- and post-processor of the model.
        carry: For graphs that say which rows have settled, how the others go on. `specs` then end with ``start``.

    Attributes:
        specs: The inputs that keep all copies busy: those of one copy, with `copies` times the rows. A call takes any
            number of rows.
        carry: As given.
        processor: As given, so that an `OCRPipeline` takes replicas in place of a model.

    Raises:
        OptionError: If there is no function, one cannot be called, or `copies` is not a multiple of their number.
        SpecError: If `specs` are not specs that `FixedShape` takes.

    Examples:
        >>> replicas = neuronkit.static.shapes.Replicas([torch.sigmoid] * 2, [TensorSpec("x", (2, 3))])
        >>> replicas(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        functions: Sequence[Callable[..., Any]],
        specs: Sequence[TensorSpec],
        *,
        copies: int | None = None,
        processor: Any = None,
        carry: Carry | None = None,
    ) -> None:
        functions = [checks.callable_("functions", f) for f in checks.items("functions", functions, "functions")]
        self.copies = len(functions) if copies is None else checks.integer("copies", copies, 1, 1 << 16)
        if not functions or self.copies % len(functions):
            raise OptionError(
                f"{len(functions)} functions cannot serve {self.copies} copies; give one for each, or one for all"
            )
        self.processor, self.carry = processor, carry
        specs = as_specs(functions[0], specs)
        self.specs = tuple(_with_rows(spec, self.copies) for spec in (specs if carry is None else specs[:-1]))
        shared = [_with_rows(spec, self.copies // len(functions)) for spec in specs]
        self._fixed = [FixedShape(function, shared) for function in functions]
        self._batch_size = self._fixed[0].batch_size
        self._closed = False
        # A compiled model, which pickles by its path.
        self._origin: Any = None
        self._start()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._origin is None:
            return super().__reduce_ex__(protocol)
        return methodcaller("replicate", self.copies), (self._origin,)

    def _start(self) -> None:
        """Make the threads, and mark all copies as idle."""
        self._idle: SimpleQueue[FixedShape] = SimpleQueue()
        for fixed in self._fixed:
            self._idle.put(fixed)
        self._threads = ThreadPoolExecutor(len(self._fixed), thread_name_prefix="neuronkit-replica")
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        check_pickles("Replicas", processor=self.processor)
        return {name: value for name, value in vars(self).items() if name not in ("_idle", "_threads", "_process")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __call__(self, *inputs: Tensor) -> Any:
        """Run on any number of rows, none included.

        Args:
            *inputs: One tensor for each of `specs`, with the same number of rows, at most of the size that these say.

        Returns:
            What one copy returns, for all rows, in their order.

        Raises:
            SpecError: If an input does not fit, the rows of the copies' batches influence one another, or the replicas
                are closed.
        """
        if self.carry is None:
            return self.step(*inputs)
        if _common_rows(inputs):
            return RowStream(self.step, self.specs[0].shape[0], self.carry, fill=False)(*inputs)
        return self.carry.split(self.step(*inputs, torch.empty(0, self.carry.steps, dtype=torch.int32)))[0]

    def step(self, *inputs: Tensor) -> Any:
        """Run every row once, and `start` beside them where rows may have to go on; see `CompiledModel.step`.

        Raises:
            SpecError: If the replicas are closed, or an input does not fit.
        """
        if self._closed:
            raise SpecError("got a call after close(); expected open replicas; make new ones")
        rows = _common_rows(inputs)
        batches = [[tensor[chunk] for tensor in inputs] for chunk in row_chunks(rows, self._batch_size)]
        if self._process != os.getpid():
            # A fork copies neither threads nor, for certain, which copies are idle.
            with _starting.taken():
                if self._process != os.getpid():
                    self._start()
        running = [self._threads.submit(self._run, batch) for batch in batches]
        # Wait for all before the first error is raised: no batch may still be running when the call returns.
        errors = [future.exception() for future in running]
        for error in filter(None, errors):
            raise error
        results = [future.result() for future in running]
        return map_tensors(lambda _, parts: torch.cat(parts), results[0], transpose(results))

    def _run(self, batch: Sequence[Tensor]) -> Any:
        # Gradients are switched off for each thread by itself.
        with self._copy() as copy, torch.no_grad():
            return copy(*batch)

    @contextmanager
    def _copy(self) -> Iterator[FixedShape]:
        copy = self._idle.get()
        try:
            yield copy
        finally:
            self._idle.put(copy)

    def close(self) -> None:
        """Finish running batches and end the threads; replicas cannot be called afterwards."""
        self._closed = True
        self._threads.shutdown()

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Replicas({self.copies} copies, {', '.join(map(str, self.specs))})"


def _with_rows(spec: TensorSpec, times: int) -> TensorSpec:
    return TensorSpec(spec.name, (spec.shape[0] * times, *spec.shape[1:]), spec.dtype) if spec.shape else spec


def _common_rows(inputs: Sequence[Tensor]) -> int:
    wrong = [type(item).__name__ for item in inputs if not isinstance(item, Tensor) or item.dim() == 0]
    if wrong or not inputs:
        raise SpecError(
            f"got {', '.join(wrong) or 'no input'}; expected tensors whose first dimension is the rows; give those"
        )
    for item in inputs:
        tensors.tensor("an input", item)
    rows = {len(tensor) for tensor in inputs}
    if len(rows) > 1:
        raise SpecError(
            f"inputs have {[len(x) for x in inputs]} rows; expected the same number in each; give as many of each"
        )
    return rows.pop()
