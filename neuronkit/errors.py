"""Every exception neuronkit raises, on one screen.

Each one derives from `NeuronKitError` and from the builtin it refines, so that both
``except neuronkit.errors.NeuronKitError`` and ``except ValueError`` do what a reader expects.
A message says what was given, what was expected, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    # ParityError carries the report, and what makes the report raises the error.
    from neuronkit.compile.parity import ParityReport


class NeuronKitError(Exception):
    """Root of every error raised by neuronkit. It can be pickled and copied, with all its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made again from its first arguments alone, which is too few for those that take more.
        return _restored, (type(self), self.args, self.__dict__)


class SpecError(NeuronKitError, ValueError):
    """A shape, dtype or size does not fit what a fixed-shape graph can take."""


class OptionError(NeuronKitError, ValueError):
    """An option has a bad value, or the chosen target cannot honour it."""


class UnknownTargetError(NeuronKitError, ValueError):
    """There is no target of that name."""


class UnknownModelError(NeuronKitError, TypeError):
    """No adapter recognises the model."""


class MissingDependencyError(NeuronKitError, ImportError):
    """A package that this call needs is missing, broken, or of a release that does not fit."""


class MissingSDKError(MissingDependencyError):
    """The Neuron SDK of the chosen target is missing, or does not fit the installed torch or Python."""


class UnsupportedOperatorError(NeuronKitError, RuntimeError):
    """The graph holds an operator that the target does not take."""


class CompileError(NeuronKitError, RuntimeError):
    """The target's compiler failed.

    Attributes:
        code: The compiler's own error code (``"NCC_..."``), or None when it printed none.
        log_path: Where the whole compiler log lies, or None.
        hint: What the documentation of that code recommends, or None.

    Examples:
        >>> error = neuronkit.errors.CompileError("the compiler ended with status 70", code="NCC_EVRF009")
        >>> error.code
        'NCC_EVRF009'
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        log_path: Path | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.log_path = log_path
        self.hint = hint


class NeuronCoreError(NeuronKitError, RuntimeError):
    """The NeuronCores that this process needs are taken, do not exist, or were claimed too late."""


class ModelError(NeuronKitError, RuntimeError):
    """A detector or recogniser failed on an image."""


class ServerError(NeuronKitError, RuntimeError):
    """A server that was started on this machine is not ready in time, or stopped."""


class ParityError(NeuronKitError, AssertionError):
    """Two computations that must agree do not.

    Attributes:
        report: The numbers behind the verdict.

    Examples:
        >>> try:
        ...     neuronkit.assert_parity(torch.sin, torch.cos, torch.ones(3))
        ... except neuronkit.errors.ParityError as error:
        ...     print(error.report.passed)
        False
    """

    def __init__(self, message: str, report: ParityReport) -> None:
        super().__init__(message)
        self.report = report


class ArtifactError(NeuronKitError, ValueError):
    """A compiled artifact cannot be written, or a file is not a sound artifact."""


class CheckpointError(NeuronKitError, ValueError):
    """A checkpoint cannot be read, or does not fit the model."""


class ImageError(NeuronKitError, ValueError):
    """Something given as an image is empty, unreadable, or not an image."""


class AssumptionWarning(NeuronKitError, UserWarning):
    """Something that the input does not say had to be assumed; the message names the assumption.

    Silence it with ``warnings.simplefilter("ignore", AssumptionWarning)``, or give what the message names.
    """


class ChangedDefaultsWarning(NeuronKitError, UserWarning):
    """The installed compiler has other defaults than the one that an artifact was built with."""


def _restored(cls: type[NeuronKitError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> NeuronKitError:
    error = cls.__new__(cls, *arguments)
    error.__dict__.update(attributes)
    return error
