"""unpickle: reads one pickle as data.

Python's own unpickler is not used, not even restricted: it looks up names, sets attributes, and allocates what a file
says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from neuronkit.models.files.pickles.machine import Machine
from neuronkit.models.files.pickles.opcodes import STEPS, STOP
from neuronkit.models.files.source import Budget, Damaged, Source


def unpickle(source: Source, budget: Budget, find_storage: Callable[[tuple[Any, ...]], Any]) -> Any:
    """Return what the pickle describes.

    Args:
        source: Where it stands; afterwards, the place behind it.
        budget: What it may cost.
        find_storage: Gives the storage, or another value, for a persistent id.

    Raises:
        Damaged: If the pickle is not whole, or describes more than its budget.
    """
    machine = Machine(source, budget, find_storage)
    try:
        while (code := source.take(1)[0]) != STOP:
            budget.spend(Budget.STEP)
            STEPS[code](machine)
        return machine.stack.pop()
    except Damaged:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise Damaged(f"its pickle is malformed: {type(error).__name__}") from error
