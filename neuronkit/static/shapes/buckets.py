"""Several fixed shapes behind one callable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from neuronkit import checks
from neuronkit.checks import shown
from neuronkit.errors import SpecError
from neuronkit.report import described, headline
from neuronkit.specs import DTYPES, TensorSpec
from neuronkit.static.shapes.canvas import padded_size
from neuronkit.static.shapes.fixed import FixedShape, OutputSizes
from neuronkit.static.trees import map_tensors, transpose
from neuronkit.tensors import tensor as plain_tensor

Shape = tuple[int, ...]
AnyShape = TypeVar("AnyShape", bound=Shape)  # Keys of a mapping are invariant: tuple[int, int] is no Shape there.


class Buckets:
    """Routes each input to the cheapest of several compiled shapes, and lets inputs share batches.

    Called with tensors, it serves one input of any number of rows. Called with a list, it serves many of different
    sizes: rows that go to the same shape share batches, and results come in the order of the list.

    Args:
        fns_by_shape: Shape of the first input, (N, C, H, W) for images → the callable that takes exactly this; or
            (H, W) where the callable has ``specs``. A `FixedShape` is taken as it is.
        pad_value: Value of the canvas outside the input; a mapping gives it by spec name.
        valid_size: Name of the spec, (N, 2) int32, that receives each row's (height, width).
        output_sizes: Size of the outputs: a factor of the input's size, or a function of valid sizes; None takes the
            callable's own, and 1 where it has none. `FixedShape` has the details.
        dtype: Of the first input, for callables without ``specs``.
        costs: What one run of each shape costs, in any unit; None takes the number of pixels that it computes.
            `measure` replaces them by seconds.

    Raises:
        SpecError: If there is no shape, one does not fit its callable's specs, or one has no cost.

    Examples:
        >>> shapes = {(1, 3, 64, w): FixedShape(torch.sigmoid, [TensorSpec("x", (1, 3, 64, w))]) for w in (64, 128)}
        >>> neuronkit.Buckets(shapes)(torch.zeros(5, 3, 64, 100)).shape
        torch.Size([5, 3, 64, 100])
    """

    def __init__(
        self,
        fns_by_shape: Mapping[AnyShape, Callable[..., Any]],
        *,
        pad_value: float | Mapping[str, float] = 0.0,
        valid_size: str | None = None,
        output_sizes: OutputSizes | None = None,
        dtype: str = "float32",
        costs: Mapping[AnyShape, float] | None = None,
    ) -> None:
        if not isinstance(fns_by_shape, Mapping) or not fns_by_shape:
            raise SpecError(
                f"got fns_by_shape={shown(fns_by_shape)}; expected a mapping with at least one shape → callable; give "
                "{(N, C, H, W): callable}"
            )
        if costs is not None and not isinstance(costs, Mapping):
            raise SpecError(f"got costs={shown(costs)}; expected a mapping of shape → cost; give one for each shape")
        settings: dict[str, Any] = {"pad_value": pad_value, "valid_size": valid_size, "output_sizes": output_sizes}
        dtype = checks.choice("dtype", dtype, DTYPES, error=SpecError)
        self.buckets: dict[Shape, FixedShape] = {}
        self.costs: dict[Shape, float] = {}
        for key, fn in fns_by_shape.items():
            if not isinstance(key, tuple):
                raise SpecError(
                    f"fns_by_shape has the key {shown(key)}; expected a shape, (N, C, H, W) or (H, W); give a tuple"
                )
            checks.integers("a key of fns_by_shape", key, len(key), 1, error=SpecError)
            fixed = fn if isinstance(fn, FixedShape) else FixedShape(fn, _specs(key, fn, valid_size, dtype), **settings)
            shape = fixed.data_specs[0].shape
            if tuple(key) not in (shape, fixed.canvas):
                raise SpecError(f"the callable given for {tuple(key)} takes {shape}; name it by that shape")
            self.buckets[shape] = fixed
            self.costs[shape] = _pixels(fixed) if costs is None else _cost(costs, key)

    def __repr__(self) -> str:
        return described(
            f"Buckets: the cheapest of {len(self.buckets)} shapes that holds an input",
            wraps=dict.fromkeys(headline(fixed.fn) for fixed in self.buckets.values()),
            shapes=(" x ".join(map(str, shape)) for shape in self.shapes),
        )

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes, cheapest first."""
        return tuple(sorted(self.buckets, key=lambda shape: self.costs[shape]))

    def __call__(self, *inputs: Any) -> Any:
        """Run on one input, or on a list of them.

        Args:
            inputs: Tensors as one `FixedShape` takes them, with any number of rows; or one list, of tensors with rows
                or of single rows without that dimension, or of tuples of such where there are several inputs.

        Returns:
            What the callable returns for the input; for a list, a list of that, a single row's without the rows.

        Raises:
            SpecError: If nothing fits; the message lists the shapes.
        """
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            return self._run_list(inputs[0])
        if not inputs or not isinstance(inputs[0], Tensor):
            given = type(inputs[0]).__name__ if inputs else "nothing"
            raise SpecError(f"got {given}; expected tensors, or one list of tensors; torch.from_numpy makes a tensor")
        dims = len(self.shapes[0])
        if inputs[0].dim() != dims:
            raise SpecError(
                f"got a tensor of {inputs[0].dim()} dimensions; expected {dims}, as in {self.shapes[0]}; "
                "give the rows as the first dimension, or single rows in a list"
            )
        return self.buckets[self._route(padded_size(inputs[0].shape), len(inputs[0]))](*inputs)

    def route(self, size: tuple[int, ...], rows: int = 1) -> Shape:
        """The shape that serves this many rows of this (height, width) at the least cost.

        Raises:
            SpecError: If nothing fits, in which case the message lists the shapes, or the sizes are not whole numbers
                of at least 1.
        """
        canvas = self.buckets[self.shapes[0]].canvas
        size = checks.integers("size", size, len(canvas), 1, 1 << 31, error=SpecError)
        return self._route(size, checks.integer("rows", rows, 0, 1 << 40, error=SpecError))

    def _route(self, size: tuple[int, ...], rows: int) -> Shape:
        fitting = self._fitting(size)
        return min(fitting, key=lambda shape: (max(1, -(-rows // shape[0])) * self.costs[shape], shape))

    def measure(self, repeats: int = 3) -> dict[Shape, float]:
        """Time one run of every shape, and route by that from now on.

        Args:
            repeats: Runs of each, after one that does not count; the fastest counts.

        Returns:
            Shape → seconds.

        Raises:
            SpecError: If `repeats` is not a whole number from 1 to 1000.
        """
        repeats = checks.integer("repeats", repeats, 1, 1000, error=SpecError)
        for shape, fixed in self.buckets.items():
            inputs = [_example(spec, fixed) for spec in fixed.specs]
            fixed.fn(*inputs)
            seconds = []
            for _ in range(repeats):
                begin = time.perf_counter()
                fixed.fn(*inputs)
                seconds.append(time.perf_counter() - begin)
            self.costs[shape] = min(seconds)
        return dict(self.costs)

    def _fitting(self, size: tuple[int, ...]) -> list[Shape]:
        fitting = [shape for shape, fixed in self.buckets.items() if _fits(size, fixed.canvas)]
        if not fitting:
            known = ", ".join(str(shape) for shape in sorted(self.buckets))
            raise SpecError(
                f"an input of {'x'.join(map(str, size))} fits none of the shapes {known}; scale it down, compile a "
                "larger shape (see neuronkit.plan_buckets), or run it in tiles with neuronkit.Tiled"
            )
        return fitting

    def _run_list(self, items: Sequence[Any]) -> list[Any]:
        given = [_as_rows(item, next(iter(self.buckets.values()))) for item in items]
        # One entry for each row: (number of the item, its row as a batch of one).
        rows = [
            (number, tuple(tensor[row : row + 1] for tensor in tensors))
            for number, (tensors, _) in enumerate(given)
            for row in range(len(tensors[0]))
        ]
        sizes = [padded_size(tensors[0].shape) for _, tensors in rows]
        parts: dict[int, list[Any]] = {number: [] for number in range(len(items))}
        results: list[Any] = [None] * len(rows)
        for shape, members in self._assign(sizes).items():
            for member, result in zip(members, self.buckets[shape].run([rows[member][1] for member in members])):
                results[member] = result
        for (number, _), result in zip(rows, results):
            parts[number].append(result)
        return [self._join(*given[number], parts[number]) for number in range(len(items))]

    def _join(self, tensors: tuple[Tensor, ...], single: bool, parts: list[Any]) -> Any:
        """Put an item's rows together again."""
        if single:
            return map_tensors(lambda tensor: tensor[0], parts[0])
        if not parts:
            return self(*tensors)
        return map_tensors(lambda _, rows: torch.cat(rows), parts[0], transpose(parts))

    def _assign(self, sizes: Sequence[tuple[int, ...]]) -> dict[Shape, list[int]]:
        """Send each row to the shape that is cheapest per row. Rows that do not fill the last batch go to the shape
        where they add the least cost.
        """
        groups: dict[Shape, list[int]] = {shape: [] for shape in self.shapes}
        fitting = {size: self._fitting(size) for size in set(sizes)}
        for member, size in enumerate(sizes):
            groups[min(fitting[size], key=lambda shape: (self.costs[shape] / shape[0], shape))].append(member)
        for shape in self.shapes:
            self._move_rest(shape, groups, sizes)
        return {shape: sorted(members) for shape, members in groups.items() if members}

    def _move_rest(self, shape: Shape, groups: dict[Shape, list[int]], sizes: Sequence[tuple[int, ...]]) -> None:
        rest = groups[shape][len(groups[shape]) // shape[0] * shape[0] :]
        if not rest:
            return

        def added(other: Shape) -> float:
            have = len(groups[other])
            return self.costs[other] * (-(-(have + len(rest)) // other[0]) - -(-have // other[0]))

        others = [
            other
            for other, fixed in self.buckets.items()
            if other != shape and all(_fits(sizes[member], fixed.canvas) for member in rest)
        ]
        best = min(others, key=added, default=shape)
        if best != shape and added(best) < self.costs[shape]:
            groups[shape] = groups[shape][: -len(rest)]
            groups[best].extend(rest)


def _specs(key: Shape, fn: Any, valid_size: str | None, dtype: str) -> Sequence[TensorSpec] | None:
    """Specs for a callable that has none of its own."""
    if getattr(fn, "specs", None) is not None:
        return None
    if len(key) < 3:
        raise SpecError(f"the callable given for {tuple(key)} has no specs; name it by its whole shape, (N, C, H, W)")
    specs = [TensorSpec("images", key, dtype)]
    return specs if valid_size is None else [*specs, TensorSpec(valid_size, (key[0], 2), "int32")]


def _cost(costs: Mapping[Any, float], key: Shape) -> float:
    if key not in costs:
        raise SpecError(f"costs has no entry for {key}; give one for each shape, by the keys of fns_by_shape")
    return checks.number(f"costs[{key}]", costs[key], 0, error=SpecError)


def _pixels(fixed: FixedShape) -> float:
    area = 1
    for size in fixed.canvas:
        area *= size
    return float(area * fixed.batch_size)


def _fits(size: tuple[int, ...], canvas: tuple[int, ...]) -> bool:
    return len(size) == len(canvas) and all(s <= c for s, c in zip(size, canvas))


def _as_rows(item: Any, fixed: FixedShape) -> tuple[tuple[Tensor, ...], bool]:
    """An item's tensors with a batch dimension, and whether it was a single row without one."""
    tensors = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if tensors and all(isinstance(tensor, Tensor) for tensor in tensors):
        tensors = tuple(plain_tensor("an item of the list", tensor) for tensor in tensors)
    else:
        raise SpecError(
            f"an item of the list is {type(item).__name__}; expected a tensor, or a tuple of tensors; "
            "torch.from_numpy makes a tensor"
        )
    dims = len(fixed.data_specs[0].shape)
    if tensors[0].dim() not in (dims, dims - 1):
        raise SpecError(
            f"an item of the list has {tensors[0].dim()} dimensions; expected {dims}, or {dims - 1} for a single row; "
            f"give it as {fixed.data_specs[0]}"
        )
    single = tensors[0].dim() == dims - 1
    return (tuple(tensor[None] for tensor in tensors) if single else tensors), single


def _example(spec: TensorSpec, fixed: FixedShape) -> Tensor:
    if spec.name == fixed.valid_size:
        return torch.tensor(fixed.canvas).to(spec.torch_dtype).expand(spec.shape)
    return spec.example()
