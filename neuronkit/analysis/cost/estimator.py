"""estimate: a lower bound of what a model costs on a chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from neuronkit.analysis.cost.hardware import find_chip, precision_on
from neuronkit.analysis.cost.report import CostReport, check_link, cost_on
from neuronkit.analysis.cost.workload import measure
from neuronkit.capture.watching import refuse_fused_script
from neuronkit.options import Precision
from neuronkit.specs import TensorSpec
from neuronkit.static.model import as_static
from neuronkit.targets import find_target


def estimate(
    model: nn.Module,
    example_inputs: Tensor | TensorSpec | Iterable[Tensor | TensorSpec] | None = None,
    *,
    target: str,
    auto_cast: str | None = None,
    auto_cast_type: str | None = None,
    passes: float | str | Mapping[str, float] | None = None,
    link_gb_s: float | None = None,
) -> CostReport:
    """Count FLOPs, bytes and device calls, and compute a lower bound of a call's time and price on a chip.

    The model is copied and runs once on the CPU, as in eval mode; of a `StaticModel` the graphs that would be compiled,
    joined. The time is a roofline: products at a core's published peak, or weights, inputs and outputs moved once at
    its share of the published bandwidth, whichever takes longer. It is a lower bound and no prediction.

    Args:
        model: Any module, or a `StaticModel`.
        example_inputs: Tensors or specs, in the order of `forward`; None for a `StaticModel`, which has its own.
        target: Compile target of a Neuron chip: "inf1", "inf2", "trn1", "trn2", "trn2-native" or "trn3".
        auto_cast: As in `CompileOptions`: with "matmult" or "all" the peak is that of the narrow type, and weights
            count in its width. None leaves float32 as it is; Inf1 has no float32 products and casts them to bf16.
        auto_cast_type: As in `CompileOptions`; None takes "bf16" where something is cast.
        passes: Decoder passes of a call, as `StaticPARSeq.passes` counts them on typical images, or their mean over
            several batches; or executions by graph name; or "worst" for a loop that never ends early. None counts the
            executions on the example inputs, which are random. A model that repeats no graph takes no number.
        link_gb_s: 10^9 bytes a second over the host link, in each direction, as you measured it. It bounds the time
            too. None leaves the link as counts of bytes and calls: no bandwidth is assumed.

    Returns:
        The report: counts, bounds of time and price, and what crosses the host link.

    Raises:
        UnknownTargetError: If there is no such target.
        OptionError: If the target has no published figures, or an option does not fit.
        SpecError: If inputs are missing, or the model fails on them.
        UnsupportedOperatorError: If an operator multiplies matrices and it is not known how to count it.
        UnknownModelError: If the model is not a module.

    Examples:
        >>> cost = neuronkit.estimate(neuronkit.make_static(parseq, batch_size=2), target="inf2")
        >>> cost.flops > 0, cost.batch_size
        (True, 2)
    """
    static = as_static(model, example_inputs).for_target(is_neuron=find_target(target).is_neuron)
    precision = Precision(auto_cast, auto_cast_type)
    # Before the model runs, which takes long.
    check_link(link_gb_s)
    precision_on(find_chip(target), precision)
    refuse_fused_script(static.source)
    return cost_on(target, measure(static, passes), precision, link_gb_s)
