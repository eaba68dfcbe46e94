"""What Hugging Face's `generate` does to greedy scores, in fixed shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError

# In place of -inf, which no comparison survives; far below any logit, and finite in bfloat16.
BANNED = -(2.0**100)
# What generate() takes without being told, in new tokens.
DEFAULT_NEW_TOKENS = 20

# fmt: off
_REPRODUCED = frozenset([
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "bad_words_ids", "forced_bos_token_id",
    "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "decoder_start_token_id", "bos_token_id",
    "eos_token_id", "pad_token_id", "use_cache",
])
# Of no effect on greedy tokens: beams, sampling, speed and what else generate() returns.
_IRRELEVANT = frozenset([
    "num_beams", "do_sample", "early_stopping", "length_penalty", "temperature", "top_k", "top_p", "min_p",
    "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "num_return_sequences", "low_memory",
    "cache_implementation", "cache_config", "max_cache_len",
    "return_legacy_cache", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "compile_config", "disable_compile", "continuous_batching_config",
    "prefill_chunk_size", "transformers_version", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "max_matching_ngram_size", "assistant_lookbehind", "target_lookbehind",
])
# fmt: on
# Values with which a setting does nothing.
_NEUTRAL: Mapping[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "guidance_scale": 1.0,
}


@dataclass(frozen=True)
class Generation:
    """The settings of greedy generation that are reproduced.

    Attributes:
        start_id: The token that decoding starts from.
        eos_id: The token that ends it.
        new_tokens: Longest sequence, in tokens, EOS counted and the start not.
        min_new_tokens: EOS is banned before so many tokens.
        forced_first: Token that comes first, or None.
        forced_last: Tokens of which one comes last, where the sequence is longest; empty for none.
        suppressed: Tokens that are never given; decided last.
        suppressed_first: Tokens that are not given at `first_free`.
        bad_words: Tokens that are never given, unless forced.
        first_free: The first position that no setting forces.
        counts_padding: Whether positions after a padding token go on as if it counted; so they do with a cache.
    """

    start_id: int
    eos_id: int
    new_tokens: int
    min_new_tokens: int
    forced_first: int | None
    forced_last: tuple[int, ...]
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    bad_words: tuple[int, ...]
    first_free: int
    counts_padding: bool


def read_generation(model: Any, max_length: int | None) -> Generation:
    """Read a model's generation settings.

    Args:
        model: A Hugging Face model that generates.
        max_length: Longest sequence in new tokens, EOS counted; None follows the model.

    Raises:
        SpecError: If a setting is not reproduced, naming it, or a token that decoding needs is not set.
    """
    config = model.generation_config
    _refuse_unknown(config)
    start_id = config.decoder_start_token_id if config.decoder_start_token_id is not None else config.bos_token_id
    eos = _ids(config.eos_token_id)
    if not isinstance(start_id, int):
        raise SpecError(
            f"generation_config.decoder_start_token_id={config.decoder_start_token_id!r} and "
            f"bos_token_id={config.bos_token_id!r}: expected one token that decoding starts from; set the first"
        )
    if len(eos) != 1:
        raise SpecError(
            f"generation_config.eos_token_id={config.eos_token_id!r}: expected one token that ends a sequence"
        )
    if any(len(word) != 1 for word in config.bad_words_ids or ()):
        raise SpecError(
            f"generation_config.bad_words_ids={config.bad_words_ids!r}: words of one token are reproduced, longer ones "
            "are not; remove them"
        )
    forced_first = config.forced_bos_token_id
    return Generation(
        start_id=start_id,
        eos_id=eos[0],
        new_tokens=_new_tokens(config, max_length),
        min_new_tokens=_min_new_tokens(config),
        forced_first=forced_first,
        forced_last=_ids(config.forced_eos_token_id),
        suppressed=_ids(config.suppress_tokens),
        suppressed_first=_ids(config.begin_suppress_tokens),
        bad_words=tuple(word[0] for word in config.bad_words_ids or () if word[0] != eos[0]),
        first_free=0 if forced_first is None else 1,
        counts_padding=config.use_cache is not False,
    )


def _refuse_unknown(config: Any) -> None:
    """Whatever is set and neither reproduced nor without effect might change the result, settings to come included."""
    refused = {
        name: value
        for name, value in config.to_diff_dict().items()
        if not name.startswith("_")
        and name not in _REPRODUCED | _IRRELEVANT
        and value not in (None, False, [], {})
        and value != _NEUTRAL.get(name)
    }
    if refused:
        settings = ", ".join(f"{name}={value!r}" for name, value in sorted(refused.items()))
        raise SpecError(
            f"generation_config sets {settings}, which static decoding does not reproduce; set it to None if the model "
            "serves without it"
        )


def _new_tokens(config: Any, max_length: int | None) -> int:
    if max_length is None and config.max_new_tokens is not None:
        max_length = config.max_new_tokens
    if max_length is None and config.max_length is not None:
        # The model's own setting counts the start.
        max_length = config.max_length - 1
    if max_length is None:
        max_length = DEFAULT_NEW_TOKENS
    if max_length < 1:
        raise SpecError(f"max_length={max_length}: expected at least 1 new token")
    return max_length


def _min_new_tokens(config: Any) -> int:
    if config.min_new_tokens is not None:
        return int(config.min_new_tokens)
    return max(0, (config.min_length or 0) - 1)


def _ids(value: int | Iterable[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(dict.fromkeys(int(v) for v in value))


class Scores(nn.Module):
    """Logits (N, T, V) → scores as `generate` chooses from, with `BANNED` in place of -inf.

    Args:
        settings: What to reproduce.
        num_classes: V.
    """

    def __init__(self, settings: Generation, num_classes: int) -> None:
        super().__init__()
        self.steps = steps = settings.new_tokens
        everywhere = range(steps)
        early = range(min(settings.min_new_tokens, steps))
        # Where one token is all there is, the last one overrules the first.
        first = (
            () if settings.forced_first is None or (steps == 1 and settings.forced_last) else (settings.forced_first,)
        )
        free = [settings.first_free] if settings.first_free < steps else []
        # The order of generate(): what is forced overrules the first rules, and is overruled by the last.
        rules: dict[str, list[tuple[Sequence[int], Sequence[int]]]] = {
            "before": [(everywhere, settings.bad_words), (early, (settings.eos_id,))],
            "forced": [([0], first), ([steps - 1], settings.forced_last)],
            "after": [(everywhere, settings.suppressed), (free, settings.suppressed_first)],
        }
        for name, found in rules.items():
            self._register(name, [(list(places), list(ids)) for places, ids in found if places and ids], num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        banned = torch.full_like(logits[:1, :1, :1], BANNED)
        if self._has("before"):
            logits = torch.where(self._table("before"), banned, logits)
        if self._has("forced"):
            choice = torch.where(self._table("forced"), torch.zeros_like(banned), banned)
            places: Tensor = self.forced_places  # type: ignore[assignment]
            logits = torch.where(places.sum(1, keepdim=True) > 0, choice, logits)
        if self._has("after"):
            logits = torch.where(self._table("after"), banned, logits)
        return logits

    def _register(self, name: str, rules: list[tuple[list[int], list[int]]], num_classes: int) -> None:
        """Keep rules as two thin matrices: a whole (T, V) table is large."""
        places, ids = torch.zeros(self.steps, len(rules)), torch.zeros(len(rules), num_classes)
        for i, (where, which) in enumerate(rules):
            places[where, i] = 1
            ids[i, which] = 1
        self.register_buffer(f"{name}_places", places, persistent=False)
        self.register_buffer(f"{name}_ids", ids, persistent=False)

    def _has(self, name: str) -> bool:
        return getattr(self, f"{name}_places").shape[1] > 0

    def _table(self, name: str) -> Tensor:
        """(T, V) bool: where a rule holds."""
        return getattr(self, f"{name}_places") @ getattr(self, f"{name}_ids") > 0
