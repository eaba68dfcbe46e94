"""Rules: how each operator is rewritten so that padding cannot reach a result.

A rule is given a `Call` and returns what it yields. It may assume nothing about the padding of a tensor beyond
`Value.fill`, and must leave nothing in the result that depends on padding, but outside the valid area;
docs/adding-a-rule.md shows one. A file of rules registers them when it is imported; importing this package imports
them all.
"""

from __future__ import annotations

from neuronkit.static.exact.rules import (
    along as along,
)
from neuronkit.static.exact.rules import (
    convolution as convolution,
)
from neuronkit.static.exact.rules import (
    elementwise as elementwise,
)
from neuronkit.static.exact.rules import (
    normalization as normalization,
)
from neuronkit.static.exact.rules import (
    padding as padding,
)
from neuronkit.static.exact.rules import (
    parts as parts,
)
from neuronkit.static.exact.rules import (
    pooling as pooling,
)
from neuronkit.static.exact.rules import (
    recurrent as recurrent,
)
from neuronkit.static.exact.rules import (
    reductions as reductions,
)
from neuronkit.static.exact.rules import (
    resizing as resizing,
)
from neuronkit.static.exact.rules import (
    sizes as sizes,
)
from neuronkit.static.exact.rules import (
    views as views,
)
