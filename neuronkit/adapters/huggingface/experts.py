"""Mixtures of experts in fixed shapes: every expert computes every token, and a mask chooses what counts.

transformers computes only the experts that some token chose, which is a decision of Python that a graph cannot hold.
The functions here replace methods of transformers' own modules, in its two layouts: up to 4.57 the layer dispatches,
in 5 a module of its own.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError


def dense_experts(model: nn.Module, *, capacity: int = 0, decodes: bool = False) -> None:
    """Make the mixtures of experts of a copy static; the model is changed.

    Args:
        model: A model, with or without such layers.
        capacity: Tokens that an expert takes at least: those of a whole sequence, where the original is given them one
            at a time.
        decodes: Whether the model only decodes. Then no token is padding, though entries of a cache are hidden.
    """
    module: Any
    for module in model.modules():
        forward = _FORWARDS.get(type(module).__name__)
        # From 5 on the layer leaves the experts to a module of theirs.
        dispatches = type(getattr(module, "experts", None)) in (nn.ModuleDict, type(None))
        if forward is not None and dispatches:
            module.forward = types.MethodType(forward, module)
        if getattr(module, "expert_capacity", None) is not None:
            module.expert_capacity = max(int(module.expert_capacity), capacity)
        if decodes and hasattr(module, "router_ignore_padding_tokens"):
            module.router_ignore_padding_tokens = True


def check_routers(model: nn.Module) -> None:
    """Raise SpecError where tokens are routed by chance, or by how many others are computed beside them."""
    for module in model.modules():
        fraction = getattr(module, "moe_eval_capacity_token_fraction", 1.0)
        policy = getattr(module, "second_expert_policy", "all")
        if fraction < 1:
            raise SpecError(
                f"got moe_eval_capacity_token_fraction={fraction}, with which a token's experts depend on the other "
                "rows of the batch; expected 1.0; set it in the model's configuration"
            )
        if policy != "all":
            raise SpecError(
                f"got second_expert_policy={policy!r}, which draws experts at random; expected 'all'; set it in the "
                "model's configuration"
            )


def _mixed(experts: Any, hidden: Tensor, chosen: Tensor, weights: Tensor | None = None) -> Tensor:
    """The sum of the experts' outputs (..., D), of those `chosen` (..., E), each times its weight (..., E)."""
    total = torch.zeros_like(hidden)
    for i, expert in enumerate(experts.values()):
        output = expert(hidden)
        if weights is not None:
            output = output * weights[..., i : i + 1]
        # where, not a product with the mask: an output that is masked may be infinite in half precision.
        total = total + torch.where(chosen[..., i : i + 1], output, torch.zeros_like(output)).to(hidden.dtype)
    return total


def _switch_layer(self: Any, hidden_states: Tensor) -> Any:
    mask, weights, logits = self.router(hidden_states)
    mixed = _mixed(self.experts, hidden_states, mask.bool())
    return weights * mixed, (logits, torch.argmax(mask, dim=-1))


def _switch_experts(self: Any, hidden_states: Tensor, selected_experts: Tensor, routing_weights: Tensor) -> Tensor:
    selected = selected_experts.squeeze(1)
    return _mixed(self, hidden_states, selected.bool(), routing_weights.expand(-1, selected.shape[-1]))


def _nllb_layer(self: Any, hidden_states: Tensor, padding_mask: Tensor | None = None) -> Any:
    mask, weights = self.router(hidden_states, padding_mask)
    flat = hidden_states.reshape(-1, hidden_states.shape[-1])
    mixed = _mixed(self.experts, flat, weights.bool(), weights * (1 - self.moe_token_dropout))
    return mixed.reshape(hidden_states.shape), (weights, torch.argmax(mask, dim=-1))


def _nllb_experts(self: Any, hidden_states: Tensor, router_mask: Tensor, router_probs: Tensor) -> Tensor:
    # The release takes the entries of the mask, 0 and 1, for the numbers of experts.
    expert = torch.arange(len(self), device=router_mask.device)
    chosen = router_mask.unsqueeze(-1) == expert
    weights = torch.where(chosen, router_probs.unsqueeze(-1), torch.zeros_like(router_probs).unsqueeze(-1)).sum(1)
    return _mixed(self, hidden_states, chosen.any(1), weights * (1 - self.moe_token_dropout))


_FORWARDS: dict[str, Callable[..., Any]] = {
    "SwitchTransformersSparseMLP": _switch_layer,
    "SwitchTransformersExperts": _switch_experts,
    "NllbMoeSparseMLP": _nllb_layer,
    "NllbMoeExperts": _nllb_experts,
}
