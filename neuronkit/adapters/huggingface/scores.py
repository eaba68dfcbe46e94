"""What `generate` does to greedy scores, as tables of fixed shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.shown import shown
from neuronkit.static.sentinels import sentinel

# In place of -inf, which products with 0 turn into NaN: far below any logit, and exact in bfloat16 too.
BANNED = -sentinel(torch.float32)
_KEPT, _BANNED, _FORCED = 0, 1, 2
# Processors whose effect depends on the position alone.
_BY_POSITION = frozenset(
    f"{name}LogitsProcessor"
    for name in (
        "MinLength",
        "MinNewTokensLength",
        "NoBadWords",
        "ForcedBOSToken",
        "ForcedEOSToken",
        "SuppressTokens",
        "SuppressTokensAtBegin",
    )
)


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


def read_rules(processors: Any, prompt: Tensor, steps: int, vocabulary: int) -> ScoreRules:
    """Ask the processors of a `generate` call what they do at each position.

    Args:
        processors: The call's LogitsProcessorList.
        prompt: (1, P) the ids that decoding starts from; all but the first are forced.
        steps: T, how many tokens follow the first at most.
        vocabulary: V.

    Raises:
        SpecError: If one looks at more than the position, or does something else than to keep, ban or force.
    """
    unknown = [type(p).__name__ for p in processors if type(p).__name__ not in _BY_POSITION]
    words = [list(word) for p in processors for word in getattr(p, "sequence_bias", ())]
    if unknown:
        raise SpecError(
            f"got the logits processors {', '.join(unknown)}; expected those that depend on the position alone; "
            "unset what adds them in model.generation_config"
        )
    if any(len(word) != 1 for word in words):
        raise SpecError(
            f"got bad_words_ids={shown(words)}; expected words of one token, longer ones are not reproduced; drop them"
        )
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
        # Two thin matrices: a whole (T, V) table is large. A pattern that keeps everything needs no row.
        used = [k for k in range(len(rules.kinds)) if bool(rules.kinds[k].any())]
        places = torch.stack([rules.pattern == k for k in used], dim=1) if used else torch.zeros(len(rules.pattern), 0)
        kinds = rules.kinds[used]
        self.bans, self.forces = bool((kinds == _BANNED).any()), bool((kinds == _FORCED).any())
        self.register_buffer("places", places.float(), persistent=False)
        self.register_buffer("banned", (kinds == _BANNED).float(), persistent=False)
        self.register_buffer("forced", (kinds == _FORCED).float(), persistent=False)

    def forward(self, logits: Tensor, positions: Tensor | None = None) -> Tensor:
        """Scores (N, W, V) of the logits at these positions (N, W) int32; None: of all T."""
        if not self.places.shape[1]:
            return logits
        places = self.places
        if positions is not None:
            # Beyond the last one nothing is asked.
            places = nn.functional.embedding(positions.clamp(max=len(places) - 1), places)
        if self.forces:
            logits = torch.where(places @ self.forced > 0, torch.zeros_like(logits[:1, :1, :1]), logits)
        if self.bans:
            logits = torch.where(places @ self.banned > 0, torch.full_like(logits[:1, :1, :1], BANNED), logits)
        return logits
