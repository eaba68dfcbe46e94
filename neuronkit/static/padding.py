"""Inputs of any size and any number of rows on a callable of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.trees import map_tensors, transpose

# A factor, or a function from (N, 2) valid sizes to those of the outputs.
OutputSizes = float | Callable[[Tensor], Any]


class FixedShape:
    """Pads what is smaller than a fixed shape, splits what has more rows, and cuts the outputs back.

    An input lies at the top left of its canvas. The last chunk of rows is filled up with copies of a valid row, and
    cut off again. The rows of the result are those of the input, none included.

    Padding alone changes what a convolutional network computes near the border; a graph made by `exact_padding` or
    `StaticCRAFT` takes the valid size as an input (`valid_size`) and is exact.

    Args:
        fn: Any callable that takes tensors of exactly `specs`: eager, TorchScript, or a `CompiledModel`.
        specs: Its inputs, in order; the first dimension of each is the batch. None takes ``fn.specs``.
        pad_value: What the canvas holds outside the input; a mapping gives it by spec name.
        valid_size: Name of the spec, (N, 2) int32, that receives each row's (height, width). A call may leave that
            tensor out: then each row is valid up to the input's own size.
        output_sizes: The (height, width) of the outputs. A number is a factor: 0.5 for outputs of half the input's
            size, rounded down. A function takes valid sizes (N, 2) int32 and returns those of the outputs, as one
            (N, 2) tensor for all or in a structure like the outputs', None for those to leave alone. None asks
            ``fn.valid_output_sizes`` where there is one, and takes 1 elsewhere. In an output, the two neighbouring
            dimensions that have the canvas's size there, the last such pair, are cut to the input's; an output that
            has no such pair stays whole.

    Raises:
        SpecError: If the specs have no common number of rows, or `valid_size` names none of them.
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
        self.fn = fn
        self.specs = tuple(fn.specs if specs is None else specs)  # type: ignore[attr-defined]
        self.valid_size = valid_size
        self.batch_size = _common_batch_size(self.specs)
        self._data = tuple(spec for spec in self.specs if spec.name != valid_size)
        if valid_size is not None and len(self._data) == len(self.specs):
            raise SpecError(f"valid_size={valid_size!r} names no input; they are {_listed(self.specs)}")
        if not self._data:
            raise SpecError(f"specs={_listed(self.specs)}: there is no input beside the valid size")
        self._pad_values = {spec.name: _pad_value(pad_value, spec.name) for spec in self._data}
        self._output_sizes = _as_function(
            getattr(fn, "valid_output_sizes", 1) if output_sizes is None else output_sizes
        )

    def __call__(self, *inputs: Tensor) -> Any:
        """Run on inputs of at most the fixed size, with any number of rows.

        Args:
            inputs: One tensor for each of `specs`, in order; the valid size may be left out.

        Returns:
            What `fn` returns, cut to the inputs' rows and size.

        Raises:
            SpecError: If the number of inputs, a dtype or a dimension does not fit.
        """
        data, valid_size = self._split(inputs)
        rows = self._check(data, valid_size)
        size = self._size(data[0])
        if valid_size is None:
            valid_size = torch.tensor([size], dtype=torch.int32, device=data[0].device).expand(rows, 2)
        chunks = [self._run(data, valid_size, chunk) for chunk in self._chunks(rows)]
        joined = map_tensors(lambda _, parts: torch.cat(parts), chunks[0], transpose(chunks))
        return self._crop(joined, size)

    def _split(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor | None]:
        """Separate the valid size, where it is given, from the rest."""
        if len(inputs) == len(self.specs):
            named = {spec.name: tensor for spec, tensor in zip(self.specs, inputs)}
            valid_size = named.pop(self.valid_size) if self.valid_size is not None else None
            return list(named.values()), valid_size
        if len(inputs) == len(self._data):
            return list(inputs), None
        raise SpecError(f"got {len(inputs)} inputs; expected {_listed(self.specs)}")

    def _check(self, data: list[Tensor], valid_size: Tensor | None) -> int:
        """Check that everything fits, and give the number of rows."""
        for spec, tensor in zip(self._data, data):
            _check_fits(spec, tensor)
        tensors = data if valid_size is None else [*data, valid_size]
        if len({len(tensor) for tensor in tensors}) > 1:
            raise SpecError(f"inputs have {[len(tensor) for tensor in tensors]} rows; expected the same number in each")
        if valid_size is not None and tuple(valid_size.shape[1:]) != (2,):
            raise SpecError(
                f"{self.valid_size}: got {tuple(valid_size.shape)}; expected (rows, 2), (height, width) each"
            )
        return len(data[0])

    def _chunks(self, rows: int) -> Iterator[slice]:
        """Slices of at most `batch_size` rows; an empty one for no rows, since the output's shape is fn's to tell."""
        for start in range(0, max(rows, 1), self.batch_size):
            yield slice(start, min(start + self.batch_size, rows))

    def _run(self, data: list[Tensor], valid_size: Tensor, chunk: slice) -> Any:
        """Run `fn` on one chunk, and cut its rows back."""
        padded = {
            spec.name: _pad(tensor[chunk], spec, self._pad_values[spec.name]) for spec, tensor in zip(self._data, data)
        }
        if self.valid_size is not None:
            spec = next(spec for spec in self.specs if spec.name == self.valid_size)
            sizes = valid_size[chunk].to(spec.torch_dtype)
            padded[self.valid_size] = _fill_rows(sizes, self.batch_size, fallback=self._size(data[0]))
        outputs = self.fn(*(padded[spec.name] for spec in self.specs))
        rows = chunk.stop - chunk.start
        return map_tensors(lambda tensor: self._cut_rows(tensor, rows), outputs)

    def _cut_rows(self, output: Tensor, rows: int) -> Tensor:
        if output.dim() == 0 or len(output) != self.batch_size:
            raise SpecError(
                f"an output has shape {tuple(output.shape)}, whose first dimension is not the batch of "
                f"{self.batch_size}; return one row of output for each row of input"
            )
        return output[:rows]

    def _size(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(tensor.shape[_first_padded(tensor.dim()) :][-2:])

    def _crop(self, outputs: Any, size: tuple[int, ...]) -> Any:
        """Cut every output's size to what it would be for an input of this size."""
        canvas = tuple(self._data[0].shape[_first_padded(len(self._data[0].shape)) :][-2:])
        if size == canvas:
            return outputs
        wide = len(size) == 2
        sizes = self._output_sizes(
            torch.tensor([size, canvas] if wide else [(1, *size), (1, *canvas)], dtype=torch.int32)
        )
        if isinstance(sizes, Tensor):
            return map_tensors(lambda output: _crop(output, sizes, wide), outputs)
        return map_tensors(lambda output, of_output: _crop(output, of_output, wide), outputs, sizes)


def _common_batch_size(specs: tuple[TensorSpec, ...]) -> int:
    batch_sizes = {spec.shape[0] if spec.shape else 0 for spec in specs}
    if len(batch_sizes) != 1 or 0 in batch_sizes:
        raise SpecError(f"specs={_listed(specs)}: expected one number of rows, the first dimension, common to all")
    return batch_sizes.pop()


def _pad_value(pad_value: float | Mapping[str, float], name: str) -> float:
    return pad_value.get(name, 0.0) if isinstance(pad_value, Mapping) else pad_value


def _as_function(output_sizes: OutputSizes) -> Callable[[Tensor], Any]:
    if not isinstance(output_sizes, (int, float)):
        return output_sizes
    factor = output_sizes
    return lambda sizes: (sizes * factor).to(torch.int32)


def _first_padded(dims: int) -> int:
    """Batch and channels are never padded; tensors of fewer than four dimensions have no channels."""
    return 2 if dims >= 4 else 1


def _check_fits(spec: TensorSpec, tensor: Tensor) -> None:
    given = f"{spec.name}: got {tuple(tensor.shape)} {str(tensor.dtype).rsplit('.', 1)[-1]}"
    if tensor.dtype != spec.torch_dtype or tensor.dim() != len(spec.shape):
        raise SpecError(f"{given}; expected {spec.dtype} of {len(spec.shape)} dimensions, at most {spec.shape}")
    first = _first_padded(tensor.dim())
    if tuple(tensor.shape[1:first]) != spec.shape[1:first]:
        raise SpecError(f"{given}; channels are never padded, expected {spec.shape[1]} of them")
    if any(size > most for size, most in zip(tensor.shape[first:], spec.shape[first:])):
        raise SpecError(
            f"{given}; the graph takes at most {spec.shape} (any number of rows). Scale the input down, compile a "
            "larger shape and join both with neuronkit.Buckets, or run it in tiles with neuronkit.tiling"
        )
    if 0 in tensor.shape[1:]:
        raise SpecError(f"{given}; an input has at least one entry in every dimension but the rows")


def _pad(tensor: Tensor, spec: TensorSpec, value: float) -> Tensor:
    """Lay rows on canvases, at the top left, and fill up the batch with copies of the first row."""
    if tuple(tensor.shape) == spec.shape:
        return tensor
    canvas = tensor.new_full((len(tensor), *spec.shape[1:]), value)
    canvas[tuple(slice(size) for size in tensor.shape)] = tensor
    return _fill_rows(canvas, spec.shape[0], fallback=value)


def _fill_rows(tensor: Tensor, rows: int, fallback: Any) -> Tensor:
    """Repeat the first row up to the batch; without any row, make rows of a value that is valid too."""
    missing = rows - len(tensor)
    if missing == 0:
        return tensor
    if len(tensor) > 0:
        return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])
    return tensor.new_empty(rows, *tensor.shape[1:]).copy_(tensor.new_tensor(fallback))


def _crop(output: Tensor, sizes: Tensor | None, wide: bool) -> Tensor:
    """Cut the dimensions that have the canvas's size.

    Args:
        output: (N, ...) any output.
        sizes: (2, 2) (height, width) for the input and for the whole canvas, or None to leave the output alone.
        wide: Whether the input has a height beside its width.
    """
    if sizes is None:
        return output
    (height, width), (canvas_height, canvas_width) = sizes.tolist()
    for dim in range(output.dim() - 1, 0, -1):
        if output.shape[dim] == canvas_width and not wide:
            return output.narrow(dim, 0, width)
        if dim > 1 and output.shape[dim] == canvas_width and output.shape[dim - 1] == canvas_height:
            return output.narrow(dim, 0, width).narrow(dim - 1, 0, height)
    return output


def _listed(specs: Sequence[TensorSpec]) -> str:
    return "(" + ", ".join(str(spec) for spec in specs) + ")"
