"""What `generate` does to greedy scores, as tables of fixed shapes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.huggingface.history import RULES, ban
from neuronkit.errors import SpecError

_KEPT, _BANNED, _FORCED = 0, 1, 2
# Processors whose effect depends on the position alone.
_BY_POSITION = frozenset(
    f"{name}LogitsProcessor"
    for name in (
        "MinLength",
        "MinNewTokensLength",
        "ForcedBOSToken",
        "ForcedEOSToken",
        "SuppressTokens",
        "SuppressTokensAtBegin",
    )
)
# Those that may ban the end after some tokens. A start that is the end too makes it a repetition.
_BAN_BY_HISTORY = {f"{name}LogitsProcessor" for name in ("NoRepeatNGram", "EncoderNoRepeatNGram")}


@dataclass(frozen=True, eq=False)
class ScoreRules:
    """What happens to the logits of each position.

    Attributes:
        kinds: (P, V) uint8, each a pattern over the vocabulary: 0 keeps a logit, 1 bans a token, 2 makes its score 0,
            which is how `generate` forces one.
        pattern: (T,) int64, the pattern of each position.
    """

    kinds: Tensor
    pattern: Tensor


def read_processors(
    processors: Any, prompts: Tensor, steps: int, vocabulary: int, *, fails_without_tokens: bool = False
) -> list[nn.Module]:
    """What the processors of a `generate` call do, in their order.

    Args:
        processors: The call's LogitsProcessorList.
        prompts: (k, P) the ids that decoding starts from, the same for each beam; all but the first are forced.
        steps: T, how many tokens follow the first at most.
        vocabulary: V.
        fails_without_tokens: Whether `generate` fails where every token is banned.

    Raises:
        SpecError: If one is not reproduced.
    """
    prompt = prompts[:1]
    _check_processors(processors, prompt, steps, vocabulary, fails_without_tokens)
    rules: list[nn.Module] = []
    for by_position, group in itertools.groupby(processors, _is_table):
        if by_position:
            rules.append(Scores(read_rules(type(processors)(group), prompt, steps, vocabulary)))
            continue
        for processor in group:
            _check_reproduced(processor, processors, prompts, steps, vocabulary)
            rules.append(RULES[type(processor).__name__](processor, steps))
    if prompt.shape[1] > 1:
        rules.append(Scores(read_rules(type(processors)(), prompt, steps, vocabulary)))
    return rules


def _is_table(processor: Any) -> bool:
    """Whether its effect is a table over positions."""
    name, words = type(processor).__name__, getattr(processor, "sequence_bias", ())
    return name in _BY_POSITION or (name == "NoBadWordsLogitsProcessor" and all(len(word) == 1 for word in words))


def _check_processors(processors: Any, prompt: Tensor, steps: int, vocabulary: int, fails_without_tokens: bool) -> None:
    """Refuse processors that are not known, and bans that leave no token where `generate` needs one."""
    names = [type(p).__name__ for p in processors]
    unknown = [name for name in names if name not in {*_BY_POSITION, *RULES}]
    if unknown:
        raise SpecError(
            f"got the logits processors {', '.join(unknown)}; expected supported ones; unset what adds "
            "them in model.generation_config"
        )
    if fails_without_tokens or "LogitNormalization" in names:
        kinds = read_rules(_by_position(processors), prompt, steps, vocabulary).kinds
        if bool((kinds == _BANNED).all(1).any()):
            raise SpecError(
                "got settings that ban every token at a position, with which generate gives NaN, or Whisper's with "
                "beams fails; expected a token that is left; unset one of them in model.generation_config"
            )


def _check_reproduced(processor: Any, processors: Any, prompts: Tensor, steps: int, vocabulary: int) -> None:
    """Refuse processors that this release of transformers applies wrongly to this call."""
    name = type(processor).__name__
    if name == "ExponentialDecayLengthPenalty" and _gives_nan(processor, processors, prompts[:1], steps, vocabulary):
        raise SpecError(
            "got exponential_decay_length_penalty and a rule that may ban the end, with which this release of "
            "transformers gives NaN; expected one of the two; unset the other, or update transformers"
        )
    if name == "EncoderRepetitionPenaltyLogitsProcessor":
        changed = processor(prompts, torch.ones(len(prompts), vocabulary, device=prompts.device))
        if not torch.equal(changed, changed[:1].expand_as(changed)):
            raise SpecError(
                "got encoder_repetition_penalty and beams, to the first of which alone this release of "
                "transformers applies it; expected one of the two; unset the other, or update transformers"
            )


def _by_position(processors: Any) -> Any:
    return type(processors)(p for p in processors if type(p).__name__ in _BY_POSITION)


def _gives_nan(penalty: Any, processors: Any, prompt: Tensor, steps: int, vocabulary: int) -> bool:
    """Whether the exponential penalty of this release makes NaN of an end that a rule before it may have banned."""
    longer = prompt[:, -1:].expand(-1, penalty.regulation_start + 1)
    if not torch.isnan(penalty(longer, torch.full((1, vocabulary), -torch.inf, device=prompt.device))).any():
        return False
    before = list(itertools.takewhile(lambda p: p is not penalty, processors))
    rules = read_rules(_by_position(type(processors)(before)), prompt, steps, vocabulary)
    # A position follows one token more than its number says.
    bans = rules.kinds[rules.pattern[max(penalty.regulation_start, prompt.shape[1] - 1) :]] == _BANNED
    ends = penalty.eos_token_id.tolist()
    words = [item for p in before for item in getattr(p, "sequence_bias", {}).items()]
    return (
        any(type(p).__name__ in _BAN_BY_HISTORY for p in before)
        or any(bias == -torch.inf and word[-1] in ends for word, bias in words)
        or bool(bans[:, ends].any())
    )


def read_rules(processors: Any, prompt: Tensor, steps: int, vocabulary: int) -> ScoreRules:
    """Find out what processors by position do at each, by running them.

    Raises:
        SpecError: If one does something else than to keep, ban or force.
    """
    # Distinct, and none of them 0.
    before = torch.arange(1, vocabulary + 1, dtype=torch.float32, device=prompt.device)
    kinds: list[Tensor] = []
    pattern: list[int] = []
    for i in range(steps):
        if i + 1 < prompt.shape[1]:
            found = torch.full((vocabulary,), _BANNED, dtype=torch.uint8)
            found[prompt[0, i + 1]] = _FORCED
        else:
            ids = torch.cat([prompt, prompt[:, -1:].expand(-1, i + 1 - prompt.shape[1])], dim=1)
            found = _kinds(before, processors(ids, before.unsqueeze(0).clone())[0])
        known = next((k for k, kind in enumerate(kinds) if torch.equal(kind, found)), len(kinds))
        kinds += [found] if known == len(kinds) else []
        pattern.append(known)
    return ScoreRules(torch.stack(kinds), torch.tensor(pattern))


def _kinds(before: Tensor, after: Tensor) -> Tensor:
    kind = torch.full_like(before, _KEPT, dtype=torch.uint8)
    kind[after == -torch.inf] = _BANNED
    kind[after == 0] = _FORCED
    if not torch.equal(after[kind == _KEPT], before[kind == _KEPT]):
        raise SpecError(
            "got generation settings that change scores; expected those that ban or force tokens; unset the others in "
            "model.generation_config"
        )
    return kind.cpu()


class Rules(nn.Module):
    """Logits (N, W, V) → scores as `generate` chooses from, with `BANNED` in place of -inf.

    Args:
        rules: One after the other, as `read_processors` gives them.
    """

    def __init__(self, rules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.rules = nn.ModuleList(rules)
        self.by_position = all(isinstance(rule, Scores) for rule in rules)
        self.reads_source = any(map(reads_source, rules))

    def forward(
        self, scores: Tensor, positions: Tensor, tokens: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Scores of the logits at these positions (1 or N, W) int32, after tokens (N, T) int32.

        Source (N, S) int32 are the encoder's tokens, where a rule reads them.
        """
        for rule in self.rules:
            given = (tokens, source) if reads_source(rule) else (tokens,)
            scores = rule(scores, positions, *given)
        return scores


def reads_source(rule: nn.Module) -> bool:
    """Whether it takes the encoder's tokens."""
    return getattr(rule, "reads_source", False) is True


class Scores(nn.Module):
    """Logits (N, T, V) → scores as `generate` chooses from, with `BANNED` in place of -inf.

    Args:
        rules: What happens at each position.
    """

    places: Tensor
    banned: Tensor
    forced: Tensor

    def __init__(self, rules: ScoreRules) -> None:
        super().__init__()
        self.last = len(rules.pattern) - 1
        # Two thin matrices: a whole (T, V) table is large. A pattern that keeps everything needs no row.
        used = [k for k in range(len(rules.kinds)) if bool(rules.kinds[k].any())]
        places = torch.stack([rules.pattern == k for k in used], dim=1) if used else torch.zeros(len(rules.pattern), 0)
        kinds = rules.kinds[used]
        # One that holds everywhere needs no look-up.
        self.bans, self.forces = bool((kinds == _BANNED).any()), bool((kinds == _FORCED).any())
        self.everywhere = len(used) == 1 and bool(places.all()) and not self.forces
        self.register_buffer("places", places.float(), persistent=False)
        self.register_buffer("banned", (kinds == _BANNED).float(), persistent=False)
        self.register_buffer("forced", (kinds == _FORCED).float(), persistent=False)

    def forward(self, logits: Tensor, positions: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Scores (N, W, V) of the logits at these positions (1 or N, W) int32."""
        if not self.places.shape[1]:
            return logits
        if self.everywhere:
            return ban(logits, self.banned > 0)
        # Beyond the last position no score is used.
        places = nn.functional.embedding(positions.clamp(max=self.last), self.places)
        if self.forces:
            logits = torch.where(places @ self.forced > 0, torch.zeros_like(logits[:1, :1, :1]), logits)
        return ban(logits, places @ self.banned > 0) if self.bans else logits
