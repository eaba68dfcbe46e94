"""Ray itself: there, whole and new enough, or an error that says how to get it."""

from __future__ import annotations

import importlib
import re

from neuronkit.errors import MissingDependencyError

OLDEST = (2, 40)
_INSTALL = 'Install it with: pip install "ray[serve,data]"'


def require_ray(library: str) -> None:
    """Make sure that one of Ray's libraries can be imported.

    Args:
        library: ``"ray.serve"`` or ``"ray.data"``.

    Raises:
        MissingDependencyError: If Ray is missing, broken or too old, with the command that installs it.
    """
    try:
        version = str(importlib.import_module("ray").__version__)
    except ModuleNotFoundError as error:
        if error.name == "ray":
            raise MissingDependencyError(
                f"neuronkit.serving.ray needs Ray, which is not installed. {_INSTALL}"
            ) from error
        raise _broken("ray", error) from error
    except Exception as error:  # A broken package raises anything, from ImportError to OSError for a missing library.
        raise _broken("ray", error) from error
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingDependencyError(
            f"Ray {version} is installed, and neuronkit.serving.ray needs {oldest} or newer. {_INSTALL} --upgrade"
        )
    try:
        importlib.import_module(library)
    except Exception as error:
        raise _broken(library, error) from error


def _broken(library: str, error: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        f"{library} cannot be imported ({type(error).__name__}: {error}); Ray is broken or incomplete. {_INSTALL}"
    )
