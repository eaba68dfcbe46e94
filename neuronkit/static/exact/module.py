"""exact_padding(): a convolutional network on a padded canvas computes what it would compute on the image alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.exact.rewrite import rewrite
from neuronkit.static.exact.sizes import Dim, Extent
from neuronkit.static.exact.values import Table
from neuronkit.static.ops import length
from neuronkit.static.original import unwrap
from neuronkit.static.shapes.checks import check_valid_size, known_on_host
from neuronkit.static.shapes.refused import RefusedSizes
from neuronkit.static.trees import map_tree

# A height or width beyond this is taken for a mistake: tables of each size up to it are made.
LARGEST_CANVAS = 1 << 15


def exact_padding(module: nn.Module, *, height: int | None = None) -> ExactPadding:
    """Rewrite a convolutional network so that padding cannot reach its results.

    Zeros around an image stop being zeros after the first bias, and leak back over the border with the next
    convolution. The rewritten network takes the valid size of each row as an input. Every operator then has the input
    that it would have without padding: zeros outside the valid area before a convolution, very low values before max
    pooling, statistics of the valid entries, and resizing from the valid size to the valid size.

    Weights are shared: training the module trains both. The module computes as in eval mode.

    Args:
        module: Called with images (N, C, H, W). `torch.fx` must be able to trace it. Wrappers of distributed training
            and of torch.compile are looked through.
        height: Of all images, in pixels, where only their widths vary, as those of text lines do. What is valid is then
            given as (N,), the width of each row.

    Returns:
        A module that is called with images on a canvas and their valid sizes.

    Raises:
        SpecError: If the module cannot be traced, or holds an operator that would let padding into the result. The
            message names the node. Or if `height` is not a number of pixels.

    Examples:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
        >>> padded = neuronkit.exact_padding(network)
        >>> padded(torch.rand(1, 3, 64, 64), torch.tensor([[40, 50]], dtype=torch.int32)).shape
        torch.Size([1, 4, 64, 64])
    """
    return ExactPadding(module, height=height)


class ExactPadding(nn.Module):
    """A network that computes on a padded canvas what it would compute on the image alone.

    Made by `exact_padding`. Its graph is static: it has no branch and no loop, and its operators do not depend on the
    valid size.

    Args:
        module: The network; its weights are shared.
        height: Of all images, where only their widths vary.
    """

    def __init__(self, module: nn.Module, *, height: int | None = None) -> None:
        super().__init__()
        module = unwrap(tensors.module("module", module))
        self._name = type(module).__name__
        self.height = None if height is None else checks.integer("height", height, 1, LARGEST_CANVAS, error=SpecError)
        rewritten = rewrite(module, self.height)
        self.network = rewritten.module
        self._tables = rewritten.tables
        self._structure = rewritten.structure
        self._output_dims = rewritten.output_dims
        self._requirements = rewritten.requirements
        self._runnable: set[tuple[int, int]] = set()
        # By name: torch 1.13 copies a GraphModule apart from what else refers to its layers.
        self._mode_dependent = [
            name for name, layer in self.network.named_modules() if any(layer is m for m in rewritten.mode_dependent)
        ]
        self._canvas: tuple[int, int] | None = None

    def forward(self, images: Tensor, valid_size: Tensor) -> Any:
        """Compute on images that lie at the top left of their canvases.

        Args:
            images: (N, C, H, W); what lies outside the valid area has no influence, NaN included.
            valid_size: (N, 2) int32, (height, width) of each row's valid area, at least 1 and at most (H, W); or (N,)
                int32, the width, where all images have the height that was given. It is checked where it lies in the
                host's memory. Inside a traced or compiled graph, and on another device, nothing checks it: a size that
                is out of range, or that the module cannot run on, gives results without meaning there.

        Returns:
            What the module returns for images of the canvas's size: right inside the valid area, zero outside.

        Raises:
            SpecError: If a layer is in train mode and would compute with statistics of the batch, if the module itself
                cannot run on the canvas or on a valid size, or if `valid_size` is out of range or has another number of
                rows.
        """
        self._check_inputs(images, valid_size)
        if any(self.network.get_submodule(name).training for name in self._mode_dependent):
            raise SpecError(
                f"{self._name} is in train mode, where normalisation lets rows, and their padding, influence one "
                "another; call eval() first"
            )
        columns = valid_size if self.height is None else valid_size.unsqueeze(1)
        outputs = self.network(images, columns, *self._constants(images))
        return _rebuild(self._structure, outputs)

    def valid_output_sizes(self, valid_size: Tensor) -> Any:
        """Size of the valid area of each output.

        Args:
            valid_size: (N, 2) integers, (height, width) of the input's valid area; or (N,), the width.

        Returns:
            For each output, in the structure that `forward` returns: (N, 2) int32, (height, width) of its valid area;
            (N, 1) if only one of its dimensions varies, None if none does.

        Raises:
            SpecError: If they are no such tensor, or the module itself cannot run on an image of one of these sizes.
        """
        self.check_sizes(valid_size)
        outputs = [_valid_area(dims, self._pairs(valid_size)) for dims in self._output_dims]
        return _rebuild(self._structure, outputs)

    def smallest_width(self) -> int:
        """The narrowest image that the module can run on, in pixels, where all have the height that was given.

        Raises:
            SpecError: If it can run on none, or no height was given.
        """
        if self.height is None:
            raise SpecError("got no height; expected one, on which the smallest width depends; give exact_padding one")
        for width in range(1, LARGEST_CANVAS):
            if self._unmet((self.height, width)) is None:
                return width
        raise SpecError(f"{self._name} cannot run on any image of height {self.height}; give another height")

    def fix_canvas(self, height: int, width: int, device: torch.device | None = None) -> ExactPadding:
        """Keep the constants of one canvas size as buffers, which move with the module to a target's device.

        Without this they are made at every call.

        Args:
            height: Of the canvas, in pixels.
            width: Of the canvas, in pixels.
            device: Where to make them.

        Returns:
            The module itself.

        Raises:
            SpecError: If height or width is not a whole number from 1 to 32768, the module cannot run on such a canvas,
                or `device` is not a device.
        """
        sizes = {"height": height, "width": width}
        height, width = (checks.integer(name, n, 1, LARGEST_CANVAS, error=SpecError) for name, n in sizes.items())
        if device is not None:
            device = tensors.device("device", device, error=SpecError)
        self._check_canvas((height, width))
        self._canvas = (height, width)
        for table in self._tables:
            self.register_buffer(table.name, _to_tensor(table, self._canvas, device), persistent=False)
        return self

    def _check_inputs(self, images: Tensor, valid_size: Tensor) -> None:
        for name, given in (("images", images), ("valid_size", valid_size)):
            # A graph that is being made has tensors of other kinds, which are not looked into.
            if not isinstance(given, Tensor) or known_on_host(given):
                tensors.tensor(name, given)
        if images.dim() != 4:
            raise SpecError(
                f"got images of {images.dim()} dimensions; expected (N, C, H, W); add the batch dimension: "
                "images.unsqueeze(0)"
            )
        tensors.model_input("images", images, self.network, (None, None, None, None))
        rows = length(images, 0)
        wanted = (rows, 2) if self.height is None else (rows,)
        if tuple(length(valid_size, dim) for dim in range(valid_size.dim())) != wanted:
            what = "(height, width)" if self.height is None else "the width"
            raise SpecError(
                f"got valid_size of shape {tuple(valid_size.shape)} for {rows} images; expected {wanted} int32; give "
                f"{what} of each image"
            )
        if not known_on_host(valid_size):
            if valid_size.is_meta and not images.is_meta and not tensors.being_traced():
                tensors.tensor("valid_size", valid_size)
            return
        canvas = length(images, 2), length(images, 3)
        self._check_canvas(canvas)
        check_valid_size("valid_size", valid_size, canvas if self.height is None else canvas[1:])
        self.check_sizes(valid_size)

    def _constants(self, images: Tensor) -> list[Tensor]:
        canvas = (length(images, 2), length(images, 3))
        if self._canvas is not None:
            if canvas != self._canvas:
                raise SpecError(
                    f"images of {canvas}: the canvas was fixed at {self._canvas}; pad to that, or fix another"
                )
            return [getattr(self, table.name) for table in self._tables]
        self._check_canvas(canvas)
        return [_to_tensor(table, canvas, images.device) for table in self._tables]

    def with_examples(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The specs of images and their valid sizes, with a size for examples on which the module can run.

        Raises:
            SpecError: If it cannot run on images of the specs' own size.
        """
        specs = tuple(specs)
        if len(specs) != 2 or len(specs[0].shape) != 4 or specs[1].fill is not None:
            return specs
        self._check_canvas((specs[0].shape[2], specs[0].shape[3]))
        for side in range(min(specs[0].shape[2:]) if self.height is None else specs[0].shape[3], 0, -1):
            if self._unmet((self.height or side, side)) is None:
                name, shape, dtype = specs[1].name, specs[1].shape, specs[1].dtype
                return specs[0], TensorSpec(name, shape, dtype, fill=side)
        return specs

    def refused_sizes(self, specs: Sequence[TensorSpec]) -> RefusedSizes | None:
        """The sizes of images within the specs' canvas on which the module itself cannot run; None if it always can.

        Args:
            specs: Of images (N, C, H, W) and their valid sizes, or widths.
        """
        if len(specs) != 2 or len(specs[0].shape) != 4:
            return None
        height, width = specs[0].shape[2:]
        heights = np.arange(1, height + 1) if self.height is None else np.array([self.height])
        sizes = heights[:, None], np.arange(1, width + 1)[None]
        runs = np.ones((len(heights), width), np.bool_)
        for requirement in self._requirements:
            runs &= np.asarray(requirement.met(sizes), np.bool_)
        return RefusedSizes.of(specs[1].name, runs)

    def check_sizes(self, valid_size: Tensor) -> None:
        """Refuse sizes on which the module itself cannot run.

        Args:
            valid_size: (N, 2) integers, (height, width) of valid areas; or (N,), their widths.

        Raises:
            SpecError: If there is such a size.
        """
        check_valid_size("valid_size", valid_size, (LARGEST_CANVAS,) * (2 if self.height is None else 1))
        for size in dict.fromkeys(self._pairs(valid_size)):
            self._check_size(size)

    def _pairs(self, valid_size: Tensor) -> list[tuple[int, int]]:
        """(height, width) of each row."""
        return [(self.height, size) if self.height is not None else tuple(size) for size in valid_size.tolist()]

    def _check_canvas(self, canvas: tuple[int, int]) -> None:
        if self.height not in (None, canvas[0]):
            raise SpecError(
                f"got images of height {canvas[0]} for {self._name}, rewritten for height={self.height}; expected that "
                "height; scale the images to it, or rewrite for another"
            )
        self._check_size(canvas)

    def _check_size(self, size: tuple[int, int]) -> None:
        unmet = None if size in self._runnable else self._unmet(size)
        if unmet is not None:
            raise SpecError(f"{self._name} cannot run on {size[0]}x{size[1]} pixels: node {unmet}")
        self._runnable.add(size)

    def _unmet(self, size: tuple[int, int]) -> str | None:
        """Which node cannot run on an image of this size, and why; None if all can."""
        for requirement in self._requirements:
            unmet = requirement.unmet(size)
            if unmet is not None:
                return f"{requirement.where} {unmet}"
        return None


def _rebuild(structure: Any, outputs: Any) -> Any:
    return map_tree(lambda index: None if index is None else outputs[index], structure)


def _valid_area(dims: tuple[Dim, ...], sizes: list[tuple[int, int]]) -> Tensor | None:
    varying = [dim for dim in dims if isinstance(dim, Extent)]
    if not varying:
        return None
    return torch.tensor([[dim.at(size[dim.source]) for dim in varying] for size in sizes], dtype=torch.int32)


def _to_tensor(table: Table, canvas: tuple[int, int], device: torch.device | None) -> Tensor:
    values = table.compute(canvas)
    # Unlike from_numpy(), this leaves no operator behind in a trace.
    return torch.frombuffer(values, dtype=getattr(torch, values.dtype.name)).to(device)
