"""exact_padding(): a convolutional network on a padded canvas computes what it would compute on the image alone.

The network is traced (`trace`), and rewritten call by call (`rewrite`): a rule for each operator (`rules`) says
what it becomes, in terms of the sizes (`sizes`) of its values (`values`). What the new graph computes besides the
network's own operators stands in `runtime` and `matrices`. docs/adding-a-rule.md shows how to add a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.static.exact.builder import Call as Call
    from neuronkit.static.exact.module import ExactPadding as ExactPadding
    from neuronkit.static.exact.module import exact_padding as exact_padding
    from neuronkit.static.exact.rules.registry import rule as rule
    from neuronkit.static.exact.values import Fill as Fill
    from neuronkit.static.exact.values import Value as Value

_HOMES = {
    "Call": "builder", "ExactPadding": "module", "Fill": "values", "Value": "values", "exact_padding": "module",
    "rule": "rules.registry",
}  # fmt: skip
__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
