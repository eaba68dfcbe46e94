"""Single operators rewritten so that every compiler takes them.

Inf1 compiles neither `aten::embedding` nor `aten::index_put_`; neuronx-cc has rejected the custom call that bilinear
upsampling becomes, and miscompiled assignment through a boolean mask. These do the same work with comparisons,
`where` and matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuronkit.capture.onnx import pools_by_operator
from neuronkit.threads.quiet import quiet

# (first, last) output and (first, last) input of each block of a resizing.
Bands = list[tuple[int, int, int, int]]


def length(x: Tensor, dim: int) -> int:
    """A size as a plain number. A fixed canvas is what static graphs are for, so a trace may freeze it.

    Args:
        x: Any tensor.
        dim: Which dimension.

    Returns:
        Its size.

    Examples:
        >>> neuronkit.static.ops.length(torch.zeros(2, 5), 1)
        5
    """
    if not torch.jit.is_tracing():  # type: ignore[attr-defined]
        return x.shape[dim]
    with quiet(torch.jit.TracerWarning):  # type: ignore[attr-defined]
        return int(x.shape[dim])


def one_hot(ids: Tensor, num_classes: int, dtype: torch.dtype, positions: Tensor | None = None) -> Tensor:
    """Mark the class of each id, by comparison: `torch.nn.functional.one_hot` becomes a scatter in HLO.

    Args:
        ids: (...) int32 or int64; an id outside 0..num_classes - 1 gives zeros.
        num_classes: Number of classes.
        dtype: Of the result.
        positions: (num_classes,) 0, 1, 2, ... int32, where the caller keeps it as a buffer; None makes it.

    Returns:
        (..., num_classes) of `dtype`, 0 or 1.

    Examples:
        >>> neuronkit.static.ops.one_hot(torch.tensor([2]), 3, torch.float32)
        tensor([[0., 0., 1.]])
    """
    if positions is None:
        positions = torch.arange(num_classes, dtype=torch.int32, device=ids.device)
    return (ids.unsqueeze(-1) == positions).to(dtype)


def one_hot_embedding(ids: Tensor, weight: Tensor, positions: Tensor | None = None) -> Tensor:
    """Look ids up in a table, as a product with their one-hot vectors; equals `embedding` where that is defined.

    Args:
        ids: (...) int32 or int64, each in 0..V - 1.
        weight: (V, D) float, the table.
        positions: (V,) 0, 1, 2, ... int32, where the caller keeps it as a buffer; None makes it.

    Returns:
        (..., D) of the table's dtype.

    Examples:
        >>> neuronkit.static.ops.one_hot_embedding(torch.tensor([1]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.]])
    """
    return torch.matmul(one_hot(ids, weight.shape[0], weight.dtype, positions), weight)


def cumsum(x: Tensor, triangle: Tensor | None = None) -> Tensor:
    """Sum from the first entry up to each, along the last dimension, as a product with a triangular matrix.

    Args:
        x: (..., T) float.
        triangle: (T, T) of the same dtype, ones on and above the diagonal, where the caller keeps it; None makes it.

    Returns:
        (..., T), of the same dtype.

    Examples:
        >>> neuronkit.static.ops.cumsum(torch.ones(1, 3))
        tensor([[1., 2., 3.]])
    """
    if triangle is None:
        steps = torch.arange(x.shape[-1], dtype=torch.int32, device=x.device)
        triangle = (steps.unsqueeze(1) <= steps).to(x.dtype)
    return torch.matmul(x, triangle)


def tokens_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest classes and how likely they are: all that reading a text needs, in a hundredth of the bytes.

    Args:
        logits: (..., C) float.

    Returns:
        Classes (...) int32, and their softmax probabilities (...) float32.

    Examples:
        >>> ids, probabilities = neuronkit.static.ops.tokens_of(torch.tensor([[[0.0, 9.0]]]))
        >>> ids
        tensor([[1]], dtype=torch.int32)
    """
    exact = logits if logits.dtype == torch.float32 else logits.to(torch.float32)
    return logits.argmax(-1).to(torch.int32), exact.softmax(-1).amax(-1)


def bilinear_matrix(source: Tensor, size: Tensor, positions: Tensor) -> Tensor:
    """The weights with which linear interpolation along one dimension sums its inputs.

    Args:
        source: (N, Lout) or (1, Lout) float32, the coordinate each output is read at, in input entries.
        size: (N, 1) float32, number of valid input entries; reading stops at the last of them.
        positions: (Lin,) float32, 0, 1, 2, ...

    Returns:
        (N, Lout, Lin) float32; each row sums to one and is zero from column `size` on.

    Examples:
        >>> from neuronkit.static import ops
        >>> positions = torch.tensor([0.0, 0.5, 1.0])
        >>> ops.bilinear_matrix(torch.arange(2.0), torch.tensor(2.0), positions).shape
        torch.Size([2, 3])
    """
    source = torch.min(source.clamp(min=0.0), (size - 1.0).clamp(min=0.0))
    return (1.0 - (source.unsqueeze(-1) - positions).abs()).clamp(min=0.0)


def resize(
    x: Tensor,
    rows: Tensor | None,
    columns: Tensor | None,
    row_bands: Bands | None = None,
    column_bands: Bands | None = None,
) -> Tensor:
    """Resize the last two dimensions with a matrix for each.

    Args:
        x: (N, C, H, W) float.
        rows: (N, Hout, H) of the same dtype; None keeps the height.
        columns: (N, Wout, W) of the same dtype; None keeps the width.
        row_bands: Blocks of rows, in order: the first and, behind it, the last output, and the same of the inputs
            outside of which these outputs' weights are zero. None takes all at once.
        column_bands: Blocks of columns.

    Returns:
        (N, C, Hout, Wout).

    Examples:
        >>> rows = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]])
        >>> neuronkit.static.ops.resize(torch.tensor([[[[0.0], [2.0]]]]), rows, None).flatten()
        tensor([0., 1., 2.])
    """
    n, c, h, w = (length(x, dim) for dim in range(4))
    # Batched products with few large matrices; a broadcast product would copy the matrix for every channel, which is
    # cheap for a block's alone. Columns first, as torch's own kernel does. The memory format is kept: convolutions are
    # slower after a change.
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    if columns is not None:
        w_out = length(columns, 1)
        if last:
            x = _product(columns, x.permute(0, 3, 2, 1).reshape(n, w, h * c), column_bands).reshape(n, w_out, h, c)
            x = x.permute(0, 3, 2, 1)
        else:
            lines = x.reshape(n, c * h, w).transpose(1, 2)
            x = _product(columns, lines, column_bands, turned=True).reshape(n, c, h, w_out)
        w = w_out
    if rows is not None:
        h_out = length(rows, 1)
        if last:
            x = _product(rows, x.permute(0, 2, 3, 1).reshape(n, h, w * c), row_bands).reshape(n, h_out, w, c)
            x = x.permute(0, 3, 1, 2)
        elif row_bands is None:
            x = torch.bmm(rows, x.permute(0, 2, 1, 3).reshape(n, h, c * w))
            x = x.reshape(n, h_out, c, w).permute(0, 2, 1, 3)
        else:
            blocks = [rows[:, o:p, i:j].unsqueeze(1) @ x[:, :, i:j] for o, p, i, j in row_bands]
            x = torch.cat(blocks, dim=2)
    return x


def _product(matrix: Tensor, entries: Tensor, bands: Bands | None, turned: bool = False) -> Tensor:
    """(N, Lout, L) by (N, L, K), in blocks where there are bands: (N, Lout, K); turned, its transpose."""

    def product(matrix: Tensor, entries: Tensor) -> Tensor:
        return torch.bmm(entries.transpose(1, 2), matrix.transpose(1, 2)) if turned else torch.bmm(matrix, entries)

    if bands is None:
        return product(matrix, entries)
    return torch.cat([product(matrix[:, o:p, i:j], entries[:, i:j]) for o, p, i, j in bands], dim=2 if turned else 1)


def max_pool(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Tensor:
    """Max pooling without padding, as maxima of shifted slices.

    torch-xla lowers `max_pool2d` with its indices, which become a scatter; and on the CPU maxima of slices are several
    times faster than the operator; `neuronkit.capture.onnx.pooling_by_operator` gives the same with it.

    Args:
        x: (N, C, H, W) float, with any padding already around it.
        kernel: (height, width) of the window.
        stride: (height, width) between windows.
        dilation: (height, width) between the entries of a window.

    Returns:
        (N, C, Hout, Wout), with only whole windows counted.

    Examples:
        >>> neuronkit.static.ops.max_pool(torch.arange(16.0).reshape(1, 1, 4, 4), (2, 2), (2, 2)).flatten()
        tensor([ 5.,  7., 13., 15.])
    """
    if pools_by_operator():
        return torch.nn.functional.max_pool2d(x, kernel, stride, 0, dilation)
    for dim, size, step, gap in zip((-2, -1), kernel, stride, dilation):
        span = gap * (size - 1)
        starts = range(0, span + 1, gap)
        reach = length(x, dim) - span
        slices = [_strided(x, dim, start, reach, step) for start in starts]
        x = slices[0]
        for other in slices[1:]:
            x = torch.max(x, other)
    return x


def _strided(x: Tensor, dim: int, start: int, reach: int, step: int) -> Tensor:
    window = slice(start, start + reach, step)
    return x[..., window, :] if dim == -2 else x[..., window]
