"""Images larger than any canvas, in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.canvas import find_dims, padded_size
from neuronkit.static.shapes.fixed import FixedShape, OutputSizes
from neuronkit.static.shapes.reach import Reach, reach
from neuronkit.static.trees import leaves, map_tensors


class Tiled:
    """Runs a graph of one fixed shape over images of any size, in overlapping tiles, and stitches the outputs.

    The result is that of one run over the whole image if the overlap covers the network's receptive field and the graph
    takes the valid size; `exact` is True then.

    Args:
        fn: A callable of fixed shape, as `FixedShape` takes it: images, and the valid size if it has one.
        specs: Its inputs; None takes ``fn.specs``.
        module: The network itself, to compute the overlap from. Without it, `overlap` must be given.
        overlap: Pixels of context around the part of a tile that is kept; None measures `module`'s receptive field.
        stride: What positions of tiles, and the size of the image, are multiples of; a multiple of the network's total
            stride, so that every tile meets the same grid.
        pad_value: Value of the canvas outside the input.
        valid_size: Name of the spec, (N, 2) int32, that receives each row's (height, width).
        output_sizes: Size of the outputs: a factor of the input's size, or a function of valid sizes; None takes the
            callable, and takes 1 where it does not say. `FixedShape` has the details.

    Attributes:
        overlap: Pixels, a multiple of the stride.
        reach: How far the network's receptive field reaches; None without `module`.

    Raises:
        SpecError: If neither `module` nor `overlap` is given, a number is not whole, or the tile is not larger than its
            overlaps.

    Examples:
        >>> tiled = neuronkit.Tiled(torch.sigmoid, [TensorSpec("images", (1, 3, 96, 96))], overlap=32)
        >>> tiled(torch.zeros(1, 3, 192, 320)).shape
        torch.Size([1, 3, 192, 320])
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        specs: Sequence[TensorSpec] | None = None,
        *,
        module: nn.Module | None = None,
        overlap: int | None = None,
        stride: int = 32,
        pad_value: float = 0.0,
        valid_size: str | None = None,
        output_sizes: OutputSizes | None = None,
    ) -> None:
        self.tile = FixedShape(fn, specs, pad_value=pad_value, valid_size=valid_size, output_sizes=output_sizes)
        spec = self.tile.data_specs[0]
        if len(self.tile.data_specs) > 1 or len(spec.shape) != 4:
            raise SpecError(f"{spec}: tiles are cut from one input, images (N, C, H, W)")
        self.stride = stride = checks.integer("stride", stride, 1, 1 << 16, error=SpecError)
        if module is not None:
            module = tensors.module("module", module)
        self.reach: Reach | None = None if module is None else reach(module, stride=stride, channels=spec.shape[1])
        if overlap is None:
            if self.reach is None:
                raise SpecError(
                    "got neither module nor overlap; expected one of them; give module, to compute the overlap from, "
                    "or the overlap itself"
                )
            overlap = self.reach.largest
        self.overlap = -(-checks.integer("overlap", overlap, 0, 1 << 20, error=SpecError) // stride) * stride
        for size in self.tile.canvas:
            if size % stride or size < 2 * self.overlap + stride:
                raise SpecError(
                    f"tiles of {self.tile.canvas} with {self.overlap} pixels of overlap on each side: expected "
                    f"multiples of {stride}, and more than {2 * self.overlap}; compile larger tiles, or give a smaller "
                    "overlap and measure its error"
                )

    @property
    def exact(self) -> bool:
        """Whether the result is that of one run over the whole image."""
        return self.reach is not None and self.overlap >= self.reach.largest and self.tile.valid_size is not None

    def __call__(self, images: Tensor) -> Any:
        """Run over images.

        Args:
            images: (N, C, H, W), height and width multiples of the stride; any number of rows.

        Returns:
            What `fn` would return for a canvas of this size.

        Raises:
            SpecError: If the images are of another dtype or number of channels than `fn` takes, their size is no
                multiple of the stride, or an output does not follow it.
        """
        spec = self.tile.data_specs[0]
        images = tensors.tensor(spec.name, images, shape=(None, spec.shape[1], None, None), dtype=spec.dtype)
        height, width = padded_size(images.shape)
        if not height or not width:
            raise SpecError(f"got images of {height}x{width}; expected at least one pixel; leave empty images out")
        if height % self.stride or width % self.stride:
            raise SpecError(
                f"images of {height}x{width}: tiles meet the network's grid only where sizes are multiples of "
                f"{self.stride}; pad the image to that, as CraftProcessor does"
            )
        spans = [_spans(size, tile, self.overlap, self.stride) for size, tile in zip((height, width), self.tile.canvas)]
        places = [(rows, columns) for rows in spans[0] for columns in spans[1]]
        stitched: Any = None
        # As many tiles at a time as fill a batch: all at once would take much memory.
        at_once = max(1, self.tile.batch_size // max(1, len(images)))
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            outputs = self.tile.run([(images[:, :, r.begin : r.end, c.begin : c.end],) for r, c in some])
            for part, place in zip(outputs, some):
                stitched = self._stitch(stitched, part, place, (height, width))
        return stitched

    def _stitch(self, stitched: Any, part: Any, place: tuple[_Span, _Span], size: tuple[int, ...]) -> Any:
        """Copy what is kept of a tile's outputs to where it belongs."""
        sizes = self.tile.output_sizes(size)
        if isinstance(sizes, Tensor):
            sizes = map_tensors(lambda _: sizes, part)
        if stitched is None:
            return map_tensors(lambda p, s: self._copy(None, p, place, s), part, sizes)
        return map_tensors(lambda p, s, whole: self._copy(whole, p, place, s), part, sizes, stitched)

    def _copy(self, whole: Tensor | None, part: Tensor, place: tuple[_Span, _Span], sizes: Tensor | None) -> Tensor:
        if sizes is None:
            raise SpecError("an output does not follow the size of the input; it cannot be put together from tiles")
        size, canvas = sizes.tolist()
        # Output entries per input pixel, as a fraction.
        scales = list(zip(canvas, self.tile.canvas))
        first = find_dims(part.shape, [_scaled(span.end - span.begin, scale) for span, scale in zip(place, scales)])
        if first is None:
            raise SpecError(f"a tile's output has shape {tuple(part.shape)}, which does not follow the tile's size")
        if whole is None:
            whole = part.new_empty([*part.shape[:first], *size, *part.shape[first + 2 :]])
        target = whole
        for dim, (span, scale) in enumerate(zip(place, scales), start=first):
            kept = _scaled(span.keep_end - span.keep_begin, scale)
            part = part.narrow(dim, _scaled(span.keep_begin - span.begin, scale), kept)
            target = target.narrow(dim, _scaled(span.keep_begin, scale), kept)
        target.copy_(part)
        return whole

    def measure_error(self, images: Tensor) -> float:
        """Largest difference from exact tiles, on these images, in units of the largest value of that output.

        Args:
            images: As a call takes them; take what you will serve.

        Raises:
            SpecError: If the tile is too small for the exact overlap, or the network was not given.
        """
        if self.reach is None:
            raise SpecError("the exact overlap is not known; give module")
        exact = object.__new__(Tiled)
        exact.__dict__.update(self.__dict__)
        exact.overlap = -(-self.reach.largest // self.stride) * self.stride
        if any(size < 2 * exact.overlap + self.stride for size in self.tile.canvas):
            raise SpecError(
                f"exact tiles take an overlap of {exact.overlap} pixels, more than tiles of {self.tile.canvas} have "
                "room for; measure with larger tiles"
            )
        pairs = [pair for pair in zip(leaves(self(images)), leaves(exact(images))) if pair[0].numel()]
        return max((float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs), default=0.0)


@dataclass(frozen=True)
class _Span:
    """Where a tile lies along one dimension, and what is kept of it, in pixels of the image."""

    begin: int
    end: int
    keep_begin: int
    keep_end: int


def _spans(size: int, tile: int, overlap: int, stride: int) -> list[_Span]:
    """Cut a dimension into tiles; each keeps what is at least the overlap away from its cut ends."""
    if size <= tile:
        return [_Span(0, size, 0, size)]
    step = (tile - 2 * overlap) // stride * stride
    spans: list[_Span] = []
    begin = 0
    while begin + tile < size:
        keep_begin = spans[-1].keep_end if spans else 0
        spans.append(_Span(begin, begin + tile, keep_begin, begin + tile - overlap))
        begin = min(begin + step, size - tile)
    spans.append(_Span(size - tile, size, spans[-1].keep_end, size))
    return spans


def _scaled(pixels: int, scale: tuple[int, int]) -> int:
    """Pixels of the image as entries of an output."""
    entries, canvas = scale
    if pixels * entries % canvas:
        raise SpecError(
            f"{pixels} pixels are no whole number of output entries ({entries} for {canvas}); choose a larger stride"
        )
    return pixels * entries // canvas
