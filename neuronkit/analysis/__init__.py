"""What can be known before a compile: which operators a target takes, how precise and how fast it will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.analysis.autocast.emulator import EmulatedModel as EmulatedModel
    from neuronkit.analysis.autocast.emulator import emulate_autocast as emulate_autocast
    from neuronkit.analysis.cost.estimator import estimate as estimate
    from neuronkit.analysis.cost.report import CostReport as CostReport
    from neuronkit.analysis.cost.table import CostTable as CostTable
    from neuronkit.analysis.cost.table import compare_costs as compare_costs
    from neuronkit.analysis.operators.checker import analyze as analyze
    from neuronkit.analysis.operators.checker import check_operators as check_operators
    from neuronkit.analysis.operators.report import OperatorReport as OperatorReport
    from neuronkit.analysis.operators.report import Problem as Problem

_HOMES = {
    "CostReport": "cost.report",
    "CostTable": "cost.table",
    "EmulatedModel": "autocast.emulator",
    "OperatorReport": "operators.report",
    "Problem": "operators.report",
    "analyze": "operators.checker",
    "check_operators": "operators.checker",
    "compare_costs": "cost.table",
    "emulate_autocast": "autocast.emulator",
    "estimate": "cost.estimator",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
