"""TensorSpec: what a fixed-shape graph takes or gives."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from neuronkit import checks, tensors
from neuronkit.errors import SpecError
from neuronkit.shown import shown

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
_MOST_DIMENSIONS = 64
# Sizes are int64 in torch.
_TOO_LARGE = 1 << 63


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one tensor.

    Args:
        name: What the tensor is called, in error messages and manifests: at most 200 printable characters.
        shape: Every dimension as a number: a compiled graph has no other kind.
        dtype: A dtype's name, or the `torch.dtype` itself.
        fill: Value of every entry of an example, where random numbers would lie outside the tensor's domain.

    Raises:
        SpecError: If a dimension is unknown (None or negative) or not an integer, or the dtype has no such name; or
            `name` is empty, too long or not printable.

    Examples:
        >>> print(neuronkit.TensorSpec("images", (8, 3, 32, 128)))
        images: float32[8, 3, 32, 128]
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    fill: float | None = field(default=None, compare=False, repr=False)

    def __init__(
        self, name: str, shape: Iterable[int], dtype: str | torch.dtype = "float32", *, fill: float | None = None
    ) -> None:
        object.__setattr__(self, "name", checks.label("name", name, error=SpecError))
        object.__setattr__(self, "shape", _shape(self.name, shape))
        spelled = dtype if isinstance(dtype, str) else shown(dtype).rsplit(".", 1)[-1]
        object.__setattr__(self, "dtype", checks.choice("dtype", spelled, DTYPES, error=SpecError))
        filled = None if fill is None else checks.number("fill", fill, error=SpecError)
        object.__setattr__(self, "fill", filled)

    @classmethod
    def of(cls, name: str, tensor: torch.Tensor) -> TensorSpec:
        """The spec of an existing tensor.

        Raises:
            SpecError: If it is not a tensor, or of a dtype that no graph takes, or `name` is none for a spec.
        """
        import torch

        name = checks.label("name", name, error=SpecError)
        if not issubclass(type(tensor), torch.Tensor):
            raise SpecError(
                f"{name}: got {shown(tensor)}; expected a tensor; give one, such as torch.zeros(1, 3, 32, 128)"
            )
        return cls(name, tensor.shape, tensor.dtype)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> TensorSpec:
        """The spec of what `to_dict` gave.

        Raises:
            SpecError: If a field is missing or has a bad value.
        """
        if not isinstance(fields, dict) or not {"name", "shape", "dtype"} <= fields.keys():
            raise SpecError(
                f"got {shown(fields)}; expected the fields name, shape and dtype; give what to_dict() returned"
            )
        return cls(fields["name"], fields["shape"], fields["dtype"], fill=fields.get("fill"))

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON; `fill` where there is one."""
        filled = {} if self.fill is None else {"fill": self.fill}
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype, **filled}

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    def example(self, seed: int = 0) -> torch.Tensor:
        """Make such a tensor: of `fill`, or standard normal for floats, 0..255 for uint8, 0 or 1 for other integers.

        Raises:
            SpecError: If `seed` is not a whole number of 64 bits.
        """
        import torch

        seed = checks.integer("seed", seed, -(1 << 63), (1 << 64) - 1, error=SpecError)
        if self.fill is not None:
            return torch.full(self.shape, self.fill, dtype=self.torch_dtype)
        generator = torch.Generator().manual_seed(seed)
        if self.torch_dtype.is_floating_point:
            return torch.randn(self.shape, generator=generator).to(self.torch_dtype)
        values = 256 if self.dtype == "uint8" else 2
        return torch.randint(0, values, self.shape, generator=generator).to(self.torch_dtype)

    def check(self, tensor: torch.Tensor) -> None:
        """Check that a tensor has exactly this shape and dtype.

        Raises:
            SpecError: If it has another; the message says what mends it.
        """
        tensors.tensor(self.name, tensor)
        given = tuple(tensor.shape), tensors.dtype_name(tensor.dtype)
        if given != (self.shape, self.dtype):
            rows = (None, *self.shape[1:]) if self.shape else ()
            mend = tensors.remedy(self.name, *given, rows, self.dtype) or f"give {self.shape[0]} rows"
            raise SpecError(
                f"{self.name}: got {given[0]} {given[1]}, the compiled graph takes exactly {self.shape} {self.dtype}; "
                f"{mend}, or wrap it in neuronkit.FixedShape to serve smaller inputs and other batches"
            )

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    try:
        sizes = None if isinstance(shape, (str, bytes)) else tuple(islice(shape, _MOST_DIMENSIONS + 1))
    except Exception:  # An iterator is the caller's own code; the message names what was given.
        sizes = None
    if sizes is None or len(sizes) > _MOST_DIMENSIONS:
        raise SpecError(
            f"{name}: got shape={shown(shape)}; expected at most {_MOST_DIMENSIONS} sizes; give a tuple, such as "
            "(1, 3, 32, 128)"
        )
    return tuple(_dimension(name, size) for size in sizes)


def _dimension(name: str, value: Any) -> int:
    try:
        size = -1 if isinstance(value, bool) else operator.index(value)
    except Exception:  # __index__ is the caller's own code.
        size = -1
    if not 0 <= size < _TOO_LARGE:
        raise SpecError(
            f"{name}: got dimension {shown(value)}; expected a size: a compiled graph has fixed shapes. Give the "
            "largest size you serve and let neuronkit.FixedShape pad smaller inputs, or compile several sizes and join "
            "them with neuronkit.Buckets"
        )
    return size
