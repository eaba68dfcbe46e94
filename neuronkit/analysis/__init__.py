"""What can be known before a compile: which operators a target takes, how precise and how fast it will be."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuronkit.analysis.autocast import EmulatedModel as EmulatedModel
    from neuronkit.analysis.autocast import emulate_autocast as emulate_autocast
    from neuronkit.analysis.cost import estimate as estimate
    from neuronkit.analysis.cost_report import CostReport as CostReport
    from neuronkit.analysis.cost_table import CostTable as CostTable
    from neuronkit.analysis.cost_table import compare_costs as compare_costs
    from neuronkit.analysis.operators import analyze as analyze
    from neuronkit.analysis.operators import check_operators as check_operators
    from neuronkit.analysis.report import OperatorReport as OperatorReport
    from neuronkit.analysis.report import Problem as Problem

_HOMES = {
    "EmulatedModel": "neuronkit.analysis.autocast",
    "emulate_autocast": "neuronkit.analysis.autocast",
    "CostReport": "neuronkit.analysis.cost_report",
    "CostTable": "neuronkit.analysis.cost_table",
    "compare_costs": "neuronkit.analysis.cost_table",
    "estimate": "neuronkit.analysis.cost",
    "analyze": "neuronkit.analysis.operators",
    "check_operators": "neuronkit.analysis.operators",
    "OperatorReport": "neuronkit.analysis.report",
    "Problem": "neuronkit.analysis.report",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
