"""CompileOptions: everything a caller may ask of a compile, for every target."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import OptionError

AUTO_CASTS = ("none", "matmult", "all")
AUTO_CAST_TYPES = ("bf16", "fp16", "tf32", "fp8_e4m3")
MODEL_TYPES = ("generic", "transformer", "unet-inference")


@dataclass(frozen=True)
class Precision:
    """Which float32 operations are computed in a narrower type.

    Args:
        auto_cast: "none", "matmult" for matrix products and convolutions, "all"; None leaves the choice to the target,
            which casts nothing where the chip multiplies float32.
        auto_cast_type: The narrower type: "bf16", "fp16", "tf32" or "fp8_e4m3". None takes "bf16" where something is
            cast.

    Raises:
        OptionError: If a value is not one of those named here, or a type is given and nothing is cast.
    """

    auto_cast: str | None = None
    auto_cast_type: str | None = None

    def __post_init__(self) -> None:
        if self.auto_cast is not None:
            checks.choice("auto_cast", self.auto_cast, AUTO_CASTS)
        if self.auto_cast_type is not None:
            checks.choice("auto_cast_type", self.auto_cast_type, AUTO_CAST_TYPES)
            if self.auto_cast in (None, "none"):
                raise OptionError(
                    f"got auto_cast_type={self.auto_cast_type!r} with auto_cast={self.auto_cast!r}, which casts "
                    "nothing; expected auto_cast='matmult' or 'all'; set both, or leave both out"
                )

    @property
    def narrow_type(self) -> str | None:
        """The type that operands are rounded to; None where nothing is cast."""
        return None if self.auto_cast in (None, "none") else self.auto_cast_type or "bf16"

    def __str__(self) -> str:
        return "no auto-cast" if self.narrow_type is None else f"auto-cast {self.auto_cast}, {self.narrow_type}"


@dataclass(frozen=True)
class CompileOptions:
    """What to ask of the compiler. None leaves the choice to the target.

    A target that cannot honour a field that differs from its default raises `OptionError`; nothing is ignored.

    Args:
        auto_cast: Which float32 operations the compiler may compute in a narrower type: "none", "matmult" or "all".
        auto_cast_type: The narrower type: "bf16", "fp16", "tf32" or "fp8_e4m3".
        optlevel: How hard to optimise, 1 to 3.
        model_type: "generic", "transformer" or "unet-inference".
        cpu_operators: Operator kinds (``"aten::embedding"``) to leave on the host's CPU.
        cpu_fallback: Let the SDK move whatever it cannot compile to the CPU, unnamed.
        dynamic_batch: Let the compiled model take any number of rows, where the SDK offers that.
        inline_weights: Keep weights inside the compiled program; False keeps them beside it.
        neuroncores: Cores that one copy of the model uses.
        timeout_s: Longest time for the compiler, in seconds, for all graphs together, with the time that another
            process is waited for.
        workdir: Directory that keeps the compiler's intermediate files and logs.
        cache_dir: Directory of the compile cache, which any number of processes may share; see
            `neuronkit.cache.CompileCache`.
        extra_args: Further arguments for the compiler's command line, passed as they are.

    Raises:
        OptionError: If a value is not one of those named here.
    """

    auto_cast: str | None = None
    auto_cast_type: str | None = None
    optlevel: int | None = None
    model_type: str | None = None
    cpu_operators: tuple[str, ...] = ()
    cpu_fallback: bool = False
    dynamic_batch: bool = False
    inline_weights: bool = True
    neuroncores: int | None = None
    timeout_s: float | None = None
    workdir: Path | None = None
    cache_dir: Path | None = None
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("cpu_operators", "extra_args"):
            object.__setattr__(self, name, _strings(name, getattr(self, name)))
        for name in ("workdir", "cache_dir"):
            object.__setattr__(self, name, _directory(name, getattr(self, name)))
        _ = self.precision
        _one_of("optlevel", self.optlevel, (1, 2, 3))
        _one_of("model_type", self.model_type, MODEL_TYPES)
        _positive("neuroncores", self.neuroncores, "integer", int)
        _positive("timeout_s", self.timeout_s, "number", int, float)
        for name in ("cpu_fallback", "dynamic_batch", "inline_weights"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name}={getattr(self, name)!r}: expected True or False")
        check_operator_kinds("cpu_operators", self.cpu_operators)

    @property
    def precision(self) -> Precision:
        """`auto_cast` and `auto_cast_type` as one value."""
        return Precision(self.auto_cast, self.auto_cast_type)

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def check_operator_kinds(argument: str, kinds: Any) -> tuple[str, ...]:
    """The kinds, as a tuple.

    Raises:
        OptionError: Unless they are strings, each of which reads ``namespace::operator``.
    """
    kinds = _strings(argument, kinds, "operator kinds")
    for kind in kinds:
        namespace, _, name = kind.partition("::")
        if not namespace or not name:
            raise OptionError(
                f"{argument}: {kind!r} is not an operator kind; write it with its namespace, as 'aten::embedding'"
            )
    return kinds


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    # True and 1.0 are equal to 1, and would be written out as what they are.
    if value is not None and (type(value), value) not in [(type(choice), choice) for choice in choices]:
        raise OptionError(f"{name}={value!r}: expected one of {', '.join(map(repr, choices))}, or None")


def _positive(name: str, value: Any, kind: str, *types: type) -> None:
    # A type of its own: True is an int, too.
    if value is None or (type(value) in types and 0 < value < math.inf):
        return
    raise OptionError(f"{name}={value!r}: expected a positive {kind}, or None for the target's own choice")


def _strings(name: str, value: Any, what: str = "strings") -> tuple[str, ...]:
    items = None if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if items is None or not all(isinstance(item, str) for item in items):
        example = repr(value) if isinstance(value, str) else "'aten::embedding'"
        raise OptionError(f"{name}={value!r}: expected a sequence of {what}, such as ({example},)")
    return items


def _directory(name: str, value: Any) -> Path | None:
    if value is None:
        return None
    try:
        directory = Path(value).expanduser()
    except (TypeError, RuntimeError) as error:
        raise OptionError(f"{name}={value!r}: expected the path of a directory ({error})") from error
    if not str(value) or "\0" in str(value):
        raise OptionError(f"{name}={value!r}: expected the path of a directory, such as './{name}'")
    return directory
