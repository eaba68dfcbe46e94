"""Chips and instances with the figures that a roofline takes, read from the published table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuronkit import tables
from neuronkit.errors import OptionError
from neuronkit.options import Precision
from neuronkit.targets import find_target, target_names

_TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# What a type of auto-cast is called in the table of figures, and its width in bytes.
_FIGURES = {"fp32": ("fp32",), "bf16": ("bf16",), "fp16": ("fp16",), "tf32": ("tf32",), "fp8_e4m3": ("fp8", "cfp8")}
_WIDTHS = {"bf16": 2, "fp16": 2, "tf32": 4, "fp8_e4m3": 1}


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: Such as "Inferentia2".
        cores: Cores that a model sees: on Trainium2 and 3 logical ones, of two physical ones each.
        tflops: Type (``"bf16"``) → 10^12 FLOPs a second of the whole chip.
        bytes_per_second: Bandwidth of the whole chip's memory.
    """

    name: str
    cores: int
    tflops: Mapping[str, float]
    bytes_per_second: float

    @property
    def core_bytes_per_second(self) -> float:
        """One core's share of the bandwidth."""
        return self.bytes_per_second / self.cores

    def core_flops(self, dtype: str, precision: Precision) -> float:
        """FLOPs a second of one core on factors of a dtype; for a type without a figure, in the fastest one."""
        narrow = precision.narrow_type if dtype == "float32" else None
        kind = narrow or _TYPES.get(dtype, dtype)
        figures = [self.tflops[name] for name in _FIGURES.get(kind, ()) if name in self.tflops]
        return 1e12 * max(figures or self.tflops.values()) / self.cores


@dataclass(frozen=True)
class Instance:
    """One instance type.

    Attributes:
        name: Such as "inf2.xlarge".
        cores: Cores of all its chips, counted as in `Chip`.
        usd_per_hour: On demand; None where no price is public.
        official: Whether that price is the vendor's own; otherwise public tables of others agree on it.
        reserved_usd_per_hour: The effective price of a reserved instance in the vendor's benchmarks, or None.
    """

    name: str
    cores: int
    usd_per_hour: float | None
    official: bool
    reserved_usd_per_hour: float | None


def stored_bytes(dtype: str, count: int, precision: Precision) -> float:
    """Fewest bytes that weights of so many bytes can be kept in."""
    if dtype == "float32" and precision.narrow_type is not None:
        return count * _WIDTHS[precision.narrow_type] / 4
    return count


def find_chip(target: str) -> Chip:
    """The chip of a compile target.

    Raises:
        UnknownTargetError: If there is no such target.
        OptionError: If the target is not a chip with published figures.
    """
    table, name = tables.hardware(), find_target(target).chip
    if name is None:
        known = ", ".join(repr(other) for other in target_names() if find_target(other).chip is not None)
        raise OptionError(f"got target={target!r}, no chip with published figures; expected one of {known}; choose one")
    fields = table["chips"][name]
    bandwidth = fields["mem_bw_gib_s"] * 2**30 if "mem_bw_gib_s" in fields else fields["mem_bw_tb_s"] * 1e12
    # Sparse figures are for weights that are half zeros.
    tflops = {kind: value for kinds, value in fields["tflops"].items() for kind in kinds.split("/") if kind != "sparse"}
    return Chip(name, fields.get("logical_cores", fields["cores"]), tflops, bandwidth)


def find_instances(chip: Chip) -> tuple[Instance, ...]:
    """The instances with that chip, as listed."""
    found = tables.hardware()["instances"]
    return tuple(_instance(name, fields) for name, fields in found.items() if fields["chip"] == chip.name)


def precision_on(chip: Chip, asked: Precision) -> Precision:
    """What a compile multiplies in on this chip.

    Raises:
        OptionError: If the chip has no figure for the type.
    """
    kind = asked.narrow_type
    if kind is None:
        # A chip without a float32 figure multiplies no float32: its compiler casts the factors to bf16 in any case.
        return Precision("none") if "fp32" in chip.tflops else Precision("matmult", "bf16")
    if not any(name in chip.tflops for name in _FIGURES[kind]):
        raise OptionError(
            f"got auto_cast_type={kind!r}, for which {chip.name} has no published figure; expected one of "
            f"{', '.join(chip.tflops)}; choose one"
        )
    return Precision(asked.auto_cast, kind)


def _instance(name: str, fields: Mapping[str, Any]) -> Instance:
    official = "on_demand_usd_h" in fields
    price = fields.get("on_demand_usd_h", fields.get("on_demand_usd_h_unofficial"))
    cores = fields.get("logical_cores_lnc2", fields.get("cores"))
    return Instance(name, cores, price, official, fields.get("ri_effective_usd_h"))
