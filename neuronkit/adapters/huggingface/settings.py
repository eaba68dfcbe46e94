"""Which settings of generation are reproduced, and which are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from neuronkit.errors import SpecError
from neuronkit.shown import shown

Answer = TypeVar("Answer")
# fmt: off
_REPRODUCED = frozenset([
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "bad_words_ids", "forced_bos_token_id",
    "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "decoder_start_token_id", "bos_token_id",
    "eos_token_id", "pad_token_id", "use_cache", "num_beams", "repetition_penalty", "no_repeat_ngram_size",
    "exponential_decay_length_penalty", "renormalize_logits", "sequence_bias", "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
])
# Read by beam search alone, by sampling or assisted decoding alone, which are refused, or
# about speed and what else generate() returns.
_WITHOUT_EFFECT = frozenset([
    "early_stopping", "length_penalty", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p",
    "epsilon_cutoff", "eta_cutoff", "low_memory", "return_legacy_cache", "output_attentions", "output_hidden_states",
    "output_scores", "output_logits", "return_dict_in_generate", "compile_config", "disable_compile",
    "continuous_batching_config", "transformers_version", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "max_matching_ngram_size", "assistant_lookbehind", "target_lookbehind",
])
# Whisper's own, which say what decoding starts from. Without thresholds and timestamps there is one call of a loop.
_OF_WHISPER = frozenset([
    "language", "task", "lang_to_id", "task_to_id", "is_multilingual", "forced_decoder_ids", "prev_sot_token_id",
    "no_timestamps_token_id", "max_initial_timestamp_index", "alignment_heads", "median_filter_width",
])
# fmt: on
# Values with which a setting does nothing, besides None, False and the release's default.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "diversity_penalty": (0.0,),
    "penalty_alpha": (0.0,),
    "guidance_scale": (1.0,),
    # The others hold rounded values, or see padding: on 4.57 the static one gives other tokens.
    "cache_implementation": ("dynamic",),
}
_REFUSALS = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, ImportError)


def shallow_copy(model: Any, cls: Any = None) -> Any:
    """The same modules and weights under another object, so that attributes set on it do not reach the model."""
    copied = object.__new__(cls or type(model))
    copied.__dict__.update(model.__dict__)
    return copied


def asked(model: Any, question: Callable[[], Answer]) -> Answer:
    """Call the installed release; an error that it raises becomes an `OptionError` with its message."""
    try:
        return question()
    except SpecError:
        raise
    except _REFUSALS as error:
        words = " ".join(str(error).split()).rstrip(".")
        raise SpecError(
            f"got a model whose generate fails with these settings and sizes, {type(error).__name__}: {words}; "
            f"expected {type(model).__name__}.generate to work; change what it names, then make the static model again"
        ) from error


def refuse_settings(model: Any, arguments: Mapping[str, Any]) -> None:
    """Whatever is set and neither reproduced nor without effect might change the result, settings to come included."""
    settings = asked(model, lambda: _settings(model, arguments))
    blank = shallow_copy(model)
    blank.generation_config = type(model.generation_config)()
    defaults = _settings(blank, {})
    known = _REPRODUCED | _WITHOUT_EFFECT
    is_whisper = getattr(model.config, "model_type", None) == "whisper"
    if is_whisper:
        known |= _OF_WHISPER
        if isinstance(settings.get("language"), (list, tuple)):
            raise SpecError(
                f"got language={shown(settings['language'])} in the model's generation settings; expected one for all "
                "rows; set generation_config.language to it"
            )
    refused = {
        name: value
        for name, value in settings.items()
        if not name.startswith("_")
        and name not in known
        and not (value is None or value is False or value in ([], {}) or value in _NEUTRAL.get(name, ()))
        and not (name in defaults and value == defaults[name])
        and not (name == "num_return_sequences" and (settings.get("num_beams") or 1) > 1 and not is_whisper)
    }
    if refused:
        named = ", ".join(f"{name}={shown(value, 80)}" for name, value in sorted(refused.items()))
        raise SpecError(
            f"got {named} in the model's generation settings; expected greedy decoding or beam search, others are not "
            "reproduced; if the model serves without them, set them to None in model.generation_config"
        )


def _settings(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `generate` starts from: the release decides what counts, the model's configuration included."""
    config, _ = shallow_copy(model)._prepare_generation_config(None, **arguments)
    return dict(config.to_dict())
