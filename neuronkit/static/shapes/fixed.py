"""Inputs of any size and any number of rows on a callable of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuronkit import checks
from neuronkit.checks import shown
from neuronkit.errors import SpecError
from neuronkit.report import described, headline
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import crop, pad, padded_size, row_chunks, with_height
from neuronkit.static.shapes.checks import (
    as_specs,
    check_fits,
    check_pickles,
    check_valid_size,
    common_batch_size,
    listed,
    pad_values,
    refuse_batch_statistics,
)
from neuronkit.static.shapes.rows import carry_of
from neuronkit.static.trees import leaves, map_tensors, transpose

# A factor, or a function from (N, 2) valid sizes to those of the outputs.
OutputSizes = float | Callable[[Tensor], Any]

VALID_SIZE, VALID_WIDTH = "valid_size", "valid_width"

# Rows that are independent come out equal: same kernel, same shape. This leaves room for devices that are less strict.
ROW_TOLERANCE = 1e-4


class FixedShape:
    """Pads what is smaller than a fixed shape, splits what has more rows, and cuts the outputs back.

    An input lies at the top left of its canvas. The last chunk of rows is filled up with copies of a valid row, which
    are cut off again. The result has as many rows as the input, which may be none.

    Padding alone changes what a convolutional network computes near the border; a graph made by `exact_padding` or
    `StaticCRAFT` takes the valid size as an input (`valid_size`) and is exact.

    The first time that rows are split or filled up, a chunk is run once more with another last row. A callable whose
    rows influence one another is refused.

    It pickles where `fn` and `output_sizes` do; what does not is named in a SpecError.

    Args:
        fn: Any callable that takes tensors of exactly `specs`: eager, TorchScript, or a `CompiledModel`.
        specs: Its inputs, in order; the first dimension of each is the batch. None takes ``fn.specs``.
        pad_value: Value of the canvas outside the input; a mapping gives it by spec name.
        valid_size: Name of the spec, (N, 2) int32, that receives each row's (height, width); or (N,) int32, the width
            alone, in which case every input has the canvas's height. A call may leave that tensor out: then each row is
            valid up to the input's own size. None takes the spec called "valid_size" or "valid_width", if there is one.
        output_sizes: The (height, width) of the outputs. A number is a factor: 0.5 for outputs of half the input's
            size, rounded down. A function takes valid sizes (N, 2) int32, or widths (N,), and returns those of the
            outputs, as one (N, 2) or (N, 1) tensor for all or in a structure like the outputs', None for those to leave
            alone. None calls ``fn.valid_output_sizes`` where there is one, and takes 1 elsewhere. In an output, the two
            neighbouring dimensions that have the canvas's size there, the last such pair, are cut to the input's; an
            output that has no such pair stays whole.

    Raises:
        SpecError: If `fn` cannot be called, there are no specs, they have no common number of rows, `valid_size` or
            `pad_value` names none of them, or `fn` is a module whose batch normalisation is in train mode.

    Examples:
        >>> fixed = neuronkit.FixedShape(torch.sigmoid, [TensorSpec("images", (2, 3, 64, 64))])
        >>> fixed(torch.zeros(5, 3, 40, 64)).shape
        torch.Size([5, 3, 40, 64])
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        specs: Sequence[TensorSpec] | None = None,
        *,
        pad_value: float | Mapping[str, float] = 0.0,
        valid_size: str | None = None,
        output_sizes: OutputSizes | None = None,
    ) -> None:
        self.fn = checks.callable_("fn", fn, error=SpecError)
        self.specs = as_specs(fn, specs)
        if valid_size is None:
            valid_size = next((spec.name for spec in self.specs if spec.name in (VALID_SIZE, VALID_WIDTH)), None)
        if valid_size is not None:
            valid_size = checks.choice("valid_size", valid_size, [spec.name for spec in self.specs], error=SpecError)
        self.valid_size = valid_size
        self.batch_size = common_batch_size(self.specs)
        self.data_specs = tuple(spec for spec in self.specs if spec.name != valid_size)
        shapes = (self.batch_size, 2), (self.batch_size,)
        if valid_size is not None and self._spec(valid_size).shape not in shapes:
            raise SpecError(
                f"got valid_size={shown(valid_size)} with specs={listed(self.specs)}; expected a spec of "
                f"{shapes[0]} int32, (height, width) of each row, or {shapes[1]} int32, the width; name that one"
            )
        self._widths_only = valid_size is not None and self._spec(valid_size).shape == shapes[1]
        if not self.data_specs:
            raise SpecError(
                f"got specs={listed(self.specs)}; expected an input beside the valid size; give the images' spec, too"
            )
        self.pad_values = pad_values(pad_value, self.data_specs)
        self._given_sizes = output_sizes
        self._ask_for_sizes()
        # What takes any number of rows shares its batches among them itself.
        self._takes_any_rows = carry_of(fn) is not None
        self._rows_checked = self.batch_size == 1 or self._takes_any_rows
        refuse_batch_statistics(fn)

    def _ask_for_sizes(self) -> None:
        """Take the sizes of outputs, and the check of valid sizes, from `fn` where it has them."""
        own = getattr(self.fn, "valid_output_sizes", 1)
        self._output_sizes = _as_function(own if self._given_sizes is None else self._given_sizes)
        self._check_sizes: Callable[[Tensor], None] | None = getattr(self.fn, "check_sizes", None)
        outputs = getattr(getattr(self.fn, "interface", None), "outputs", ())
        self._places = [None if output.valid is None else output.valid.axes[0] for output in outputs]

    def __getstate__(self) -> dict[str, Any]:
        check_pickles("FixedShape", fn=self.fn, output_sizes=self._given_sizes)
        asked = ("_output_sizes", "_check_sizes", "_places")
        return {name: value for name, value in vars(self).items() if name not in asked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._ask_for_sizes()

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.canvas))
        return described(
            f"FixedShape: any number of rows, sizes up to {size}, on a fixed shape",
            wraps=[headline(self.fn)],
            takes=map(str, self.specs),
        )

    @property
    def canvas(self) -> tuple[int, ...]:
        """What the first input's padded dimensions are at most: (height, width) for images."""
        return padded_size(self.data_specs[0].shape)

    def __call__(self, *inputs: Tensor) -> Any:
        """Run on inputs of at most the fixed size, with any number of rows.

        Args:
            inputs: One tensor for each of `specs`, in order; the valid size may be left out.

        Returns:
            What `fn` returns, cut to the inputs' rows and size.

        Raises:
            SpecError: If the number of inputs, a dtype or a dimension does not fit, or rows influence one another.
        """
        return self.run([inputs])[0]

    def run(self, items: Sequence[tuple[Tensor, ...]]) -> list[Any]:
        """Run on several inputs of different sizes, whose rows share batches.

        Args:
            items: Each what a call takes.

        Returns:
            What a call of each would return, in their order.

        Raises:
            SpecError: As a call.
        """
        items = checks.items("items", items, "tuples of tensors", error=SpecError)
        if not items:
            return []
        given = [self._check(*self._split(inputs)) for inputs in items]
        rows = [len(data[0]) for data, _ in given]
        canvases = self._canvases(given)
        most = max(sum(rows), 1) if self._takes_any_rows else self.batch_size
        chunks = [self._run_chunk(canvases, chunk) for chunk in row_chunks(sum(rows), most)]
        joined = map_tensors(lambda _, parts: torch.cat(parts), chunks[0], transpose(chunks))
        results, start = [], 0
        for (data, _), count in zip(given, rows):
            window = slice(start, start + count)
            results.append(self.cut(map_tensors(lambda t, w=window: t[w], joined), padded_size(data[0].shape)))
            start += count
        return results

    def lay(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Put one input on its canvases, for those who run batches themselves.

        Returns:
            The rows, one tensor for each of `specs`; and the input's own size, for `cut`.

        Raises:
            SpecError: As a call.
        """
        data, valid_size = self._check(*self._split(inputs))
        canvases = self._canvases([(data, valid_size)])
        return tuple(canvases[spec.name] for spec in self.specs), padded_size(data[0].shape)

    def _spec(self, name: str) -> TensorSpec:
        return next(spec for spec in self.specs if spec.name == name)

    def _split(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor | None]:
        """Separate the valid size, where it is given, from the rest."""
        inputs = tuple(checks.items("item", inputs, "tensors", error=SpecError))
        if len(inputs) == len(self.specs):
            named = {spec.name: tensor for spec, tensor in zip(self.specs, inputs)}
            valid_size = named.pop(self.valid_size) if self.valid_size is not None else None
            return list(named.values()), valid_size
        if len(inputs) == len(self.data_specs):
            return list(inputs), None
        raise SpecError(f"got {len(inputs)} inputs; expected {listed(self.specs)}; give one tensor for each")

    def _check(self, data: list[Tensor], valid_size: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """Check that everything fits, and give it as plain tensors."""
        data = [check_fits(spec, tensor) for spec, tensor in zip(self.data_specs, data)]
        size = with_height(padded_size(data[0].shape))
        if self._widths_only:
            if size[0] != with_height(self.canvas)[0]:
                raise SpecError(
                    f"{self.data_specs[0].name}: got a height of {size[0]}; expected {self.canvas[0]}, since only the "
                    "widths of rows may vary; scale the input to that height"
                )
            size = size[1:]
        if valid_size is not None:
            valid_size = check_valid_size(str(self.valid_size), valid_size, size, len(data[0]))
        rows = [len(tensor) for tensor in data]
        if len(set(rows)) > 1:
            raise SpecError(f"inputs have {rows} rows; expected the same number in each; give as many of each")
        if self._check_sizes is not None:
            self._check_sizes(self._sizes(data[0][:1], None) if valid_size is None else valid_size.cpu())
        return data, valid_size

    def _canvases(self, given: Sequence[tuple[list[Tensor], Tensor | None]]) -> dict[str, Tensor]:
        """The rows of all items, by the name of the spec, each padded to its canvas."""
        canvases = {}
        for index, spec in enumerate(self.data_specs):
            padded = [pad(data[index], spec.shape, self.pad_values[spec.name]) for data, _ in given]
            canvases[spec.name] = torch.cat(padded) if len(padded) > 1 else padded[0]
        if self.valid_size is not None:
            dtype = next(spec for spec in self.specs if spec.name == self.valid_size).torch_dtype
            sizes = [self._sizes(data[0], valid_size).to(data[0].device, dtype) for data, valid_size in given]
            canvases[self.valid_size] = torch.cat(sizes)
        return canvases

    def _run_chunk(self, canvases: Mapping[str, Tensor], chunk: slice) -> Any:
        """Run `fn` on one chunk of rows, and cut off those that fill it up."""
        inputs = [self._fill(spec, canvases[spec.name][chunk]) for spec in self.specs]
        outputs = self.fn(*inputs)
        rows = chunk.stop - chunk.start
        cut = map_tensors(lambda tensor: _cut_rows(tensor, rows, len(inputs[0])), outputs)
        if not self._rows_checked and rows and (rows < self.batch_size or chunk.start > 0):
            self._check_rows(inputs, outputs)
        return cut

    def _fill(self, spec: TensorSpec, rows: Tensor) -> Tensor:
        """Repeat the first row up to the batch; without any row, make rows of a value that is valid too."""
        missing = self.batch_size - len(rows)
        if missing == 0 or (self._takes_any_rows and len(rows)):
            return rows
        if len(rows) > 0:
            return torch.cat([rows, rows[:1].expand(missing, *rows.shape[1:])])
        if spec.name != self.valid_size:
            return rows.new_full(spec.shape, self.pad_values[spec.name])
        return rows.new_tensor(self.canvas[-1] if self._widths_only else self.canvas).expand(spec.shape)

    def _sizes(self, data: Tensor, valid_size: Tensor | None) -> Tensor:
        """Each row's valid size: as given, or the input's own."""
        if valid_size is not None:
            return valid_size
        if self._widths_only:
            return torch.full((len(data),), data.shape[-1])
        return torch.tensor([with_height(padded_size(data.shape))]).expand(len(data), 2)

    def _check_rows(self, inputs: Sequence[Tensor], outputs: Any) -> None:
        """Run a chunk again with another last row: the other rows must give what they gave."""
        changed = [
            tensor if spec.name == self.valid_size else _with_other_last_row(tensor, spec.fill)
            for spec, tensor in zip(self.specs, inputs)
        ]
        for before, after in zip(leaves(outputs), leaves(self.fn(*changed))):
            before, after = (tensor[:-1].to(torch.float32) for tensor in (before, after))
            if before.numel() and (before - after).abs().max() > ROW_TOLERANCE * before.abs().max():
                raise SpecError(
                    "rows of a batch influence one another: with another last row, other rows changed by "
                    f"{float((before - after).abs().max()):.3g}. Filled-up and split batches would give other results; "
                    "put the model in eval mode, or compile it for one row"
                )
        self._rows_checked = True

    def cut(self, outputs: Any, size: tuple[int, ...]) -> Any:
        """Cut every output's size to what it would be for an input of this size.

        Raises:
            SpecError: As `output_sizes`, if it is beyond the canvas, or if an output is sparse.
        """
        size = checks.integers("size", size, len(self.canvas), 1, (1 << 31) - 1, error=SpecError)
        if size == self.canvas:
            return outputs
        if any(own > most for own, most in zip(size, self.canvas)):
            raise SpecError(f"got size={size}; expected at most the canvas, {self.canvas}; give the input's own size")
        sizes, places = self.output_sizes(size), iter(self._places)
        if isinstance(sizes, Tensor):
            return map_tensors(lambda output: crop(output, sizes, next(places, None)), outputs)
        return map_tensors(lambda output, own: crop(output, own, next(places, None)), outputs, sizes)

    def output_sizes(self, size: tuple[int, ...]) -> Any:
        """Sizes of the outputs for an input of this size, and for the whole canvas.

        Returns:
            (2, 2) int32, or (2, 1) where inputs have no height, or a fixed one: the row for the input, the row for the
            canvas; one for all outputs, or a structure of such, with None for outputs to leave alone.

        Raises:
            SpecError: If there are more or fewer sizes than the canvas has, or one is below 1.
        """
        size = checks.integers("size", size, len(self.canvas), 1, (1 << 31) - 1, error=SpecError)
        both = torch.tensor([with_height(size), with_height(self.canvas)], dtype=torch.int32)
        if self._widths_only:
            sizes = self._output_sizes(both[:, 1])
            return sizes.reshape(2, 1) if isinstance(sizes, Tensor) else sizes
        sizes = self._output_sizes(both)
        return sizes[:, 1:] if isinstance(sizes, Tensor) and len(size) == 1 else sizes


def _as_function(output_sizes: OutputSizes) -> Callable[[Tensor], Any]:
    if callable(output_sizes):
        return output_sizes
    factor = checks.number("output_sizes", output_sizes, 0, 1024, open_low=True, error=SpecError)
    return lambda sizes: (sizes * factor).to(torch.int32)


def _cut_rows(output: Tensor, rows: int, batch_size: int) -> Tensor:
    if output.dim() == 0 or len(output) != batch_size:
        raise SpecError(
            f"an output has shape {tuple(output.shape)}, whose first dimension is not the batch of {batch_size}; "
            "return one row of output for each row of input"
        )
    return output[:rows]


def _with_other_last_row(tensor: Tensor, fill: float | None) -> Tensor:
    """Change the last row of a batch to something that is as valid: of a tensor with a domain, what examples have."""
    last = tensor[-1:].flip(-1)
    if fill is not None:
        last = torch.full_like(last, fill)
    elif tensor.is_floating_point():
        last = 0.5 - 2 * last
    return torch.cat([tensor[:-1], last])
