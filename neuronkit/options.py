"""CompileOptions: the options of a compile, for every target."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from neuronkit import checks
from neuronkit.errors import OptionError

AUTO_CASTS = ("none", "matmult", "all")
AUTO_CAST_TYPES = ("bf16", "fp16", "tf32", "fp8_e4m3")
MODEL_TYPES = ("generic", "transformer", "unet-inference")
# Operator kinds or arguments in one option.
_MOST_STRINGS = 10_000
_FLAGS = ("cpu_fallback", "dynamic_batch", "inline_weights")


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


@dataclass(frozen=True, repr=False)
class CompileOptions:
    """Options of a compile. None leaves the choice to the target.

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
        threads: Threads that compute one batch on a CPU; None takes as many as torch does, where the model is loaded.
        opset: The version of ONNX's operators to export to.
        timeout_s: Longest time for the compiler, in seconds, for all graphs together, with the time that another
            process is waited for.
        workdir: Directory that keeps the compiler's intermediate files and logs.
        cache_dir: Directory of the compile cache, which any number of processes may share; see
            `neuronkit.cache.CompileCache`.
        extra_args: Further arguments for the compiler's command line, passed as they are.

    Raises:
        OptionError: If a value is not one of those named here.

    Examples:
        >>> neuronkit.CompileOptions(auto_cast="matmult", auto_cast_type="bf16").changed()
        {'auto_cast': 'matmult', 'auto_cast_type': 'bf16'}
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
    threads: int | None = None
    opset: int | None = None
    timeout_s: float | None = None
    workdir: Path | None = None
    cache_dir: Path | None = None
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("cpu_operators", "extra_args"):
            checks.set_field(self, name, _strings)
        for name in ("workdir", "cache_dir"):
            checks.set_field(self, name, _directory)
        _ = self.precision
        checks.set_field(self, "optlevel", checks.choice, (1, 2, 3), optional=True)
        checks.set_field(self, "model_type", checks.choice, MODEL_TYPES, optional=True)
        checks.set_field(self, "neuroncores", checks.integer, 1, 1024, optional=True)
        checks.set_field(self, "threads", checks.integer, 1, 1024, optional=True)
        checks.set_field(self, "opset", checks.integer, 13, 30, optional=True)
        checks.set_field(self, "timeout_s", checks.number, 0, open_low=True, optional=True)
        for name in _FLAGS:
            checks.set_field(self, name, checks.flag)
        check_operator_kinds("cpu_operators", self.cpu_operators)

    @property
    def precision(self) -> Precision:
        """`auto_cast` and `auto_cast_type` as one value."""
        return Precision(self.auto_cast, self.auto_cast_type)

    def __repr__(self) -> str:
        return f"CompileOptions({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


SDK_OPTIONS = frozenset(field.name for field in fields(CompileOptions)) - {"threads", "opset"}
"""The fields of `CompileOptions` that concern a Neuron SDK."""


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
                f"{argument}: {checks.shown(kind)} is not an operator kind; write it with its namespace, as "
                "'aten::embedding'"
            )
    return kinds


def _strings(name: str, value: Any, what: str = "strings") -> tuple[str, ...]:
    try:
        items = None if isinstance(value, (str, dict)) else tuple(islice(value, _MOST_STRINGS + 1))
    except TypeError:
        items = None
    if items is None or len(items) > _MOST_STRINGS or not all(isinstance(item, str) for item in items):
        example = checks.shown(value) if isinstance(value, str) else "'aten::embedding'"
        raise OptionError(
            f"got {name}={checks.shown(value)}; expected a sequence of {what}; give one such as ({example},)"
        )
    return tuple(checks.text(f"{name}[{i}]", item, empty=True) for i, item in enumerate(items))


def _directory(name: str, value: Any) -> Path | None:
    if value is None:
        return None
    try:
        return checks.path(name, value).expanduser()
    except RuntimeError as error:
        raise OptionError(
            f"got {name}={checks.shown(value)}; expected the path of a directory ({error}); give another"
        ) from error
