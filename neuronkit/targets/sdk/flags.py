"""neuronx-cc's command line, as far as both of its front ends share it."""

from __future__ import annotations

from collections.abc import Sequence

from neuronkit.errors import OptionError
from neuronkit.options import CompileOptions
from neuronkit.targets.sdk.packages import distribution_version, numbers

# Chips before trn2 compute no int64, and their compiler takes no word about it.
_WITHOUT_INT64 = ("inf2", "trn1", "trn1n")
# What the release after SDK 2.32 was announced to change: integer dot, scatter and pow become errors by default.
_INTEGERS = {"--native-int64": "disabled", "--implicit-integer-downcast": "all"}
_INTEGERS_SINCE = (2, 27)
# What an option and the caller's own arguments can both say. Compilers take the last one, and so ignore the other.
_FLAGS_OF = {
    "auto_cast": ("the precision", ("--auto-cast", "--auto-cast-type", "--fast-math", "--fp32-cast")),
    "model_type": ("the model type", ("--model-type",)),
    "optlevel": ("the level of optimisation", ("--optlevel", "-O", "-O1", "-O2", "-O3")),
    "neuroncores": (
        "the cores of a copy",
        ("--logical-nc-config", "-lnc", "--neuroncore-pipeline-cores", "--num-neuroncores"),
    ),
}


def neuronx_flags(options: CompileOptions, compiler_target: str) -> list[str]:
    """The flags whose defaults differ between releases or front ends, always written out; but for `extra_args`.

    Args:
        options: Of the compile.
        compiler_target: The chip as ``--target`` calls it.

    Raises:
        OptionError: If an option and `extra_args` set the same thing.
    """
    refuse_set_twice(options)
    flags = [*cast_args(options), *_model_type(options)]
    compiler = distribution_version("neuronx-cc")
    # Older compilers lack the flags.
    if compiler_target not in _WITHOUT_INT64 and compiler is not None and numbers(compiler) >= _INTEGERS_SINCE:
        flags += [f"{flag}={value}" for flag, value in _INTEGERS.items() if not flag_given(options.extra_args, flag)]
    return flags


def cast_args(options: CompileOptions) -> list[str]:
    """Whether and how neuronx-cc casts."""
    precision = options.precision
    if sets(options.extra_args, "auto_cast"):
        return []
    if precision.narrow_type is None:
        return ["--auto-cast", "none"]
    return ["--auto-cast", str(precision.auto_cast), "--auto-cast-type", precision.narrow_type]


def _model_type(options: CompileOptions) -> list[str]:
    # TorchNeuron compiles everything as a transformer by default.
    return [] if sets(options.extra_args, "model_type") else ["--model-type", options.model_type or "generic"]


def flag_given(extra_args: Sequence[str], *flags: str) -> bool:
    """Whether the caller's own arguments set one of these flags, as ``--flag value`` or ``--flag=value``."""
    return any(argument.partition("=")[0] in flags for argument in extra_args)


def checked_cores(count: int, target: str, allowed: Sequence[int]) -> int:
    """The physical cores that a copy of a model spans.

    Raises:
        OptionError: If the target cannot give it so many.
    """
    if count not in allowed:
        raise OptionError(
            f"got neuroncores={count}, which target {target!r} cannot honour; expected "
            f"{' or '.join(map(str, allowed))}; choose one"
        )
    return count


def sets(extra_args: Sequence[str], option: str) -> bool:
    """Whether the caller's own arguments say what this option says."""
    return flag_given(extra_args, *_FLAGS_OF[option][1])


def refuse_set_twice(options: CompileOptions) -> None:
    """Refuse options that the caller's own arguments set too.

    Raises:
        OptionError: For the first one.
    """
    for option, (what, _) in _FLAGS_OF.items():
        value = getattr(options, option)
        if value is not None and sets(options.extra_args, option):
            raise OptionError(
                f"got {option}={value!r} and extra_args={options.extra_args!r}, which both set {what}; expected one of "
                "them; leave the other out"
            )
