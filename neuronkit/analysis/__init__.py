"""What can be known before a compile: which operators a target takes, how precise and how fast it will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

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
    "CostReport": "cost_report",
    "CostTable": "cost_table",
    "EmulatedModel": "autocast",
    "OperatorReport": "report",
    "Problem": "report",
    "analyze": "operators",
    "check_operators": "operators",
    "compare_costs": "cost_table",
    "emulate_autocast": "autocast",
    "estimate": "cost",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
