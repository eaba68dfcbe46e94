"""Rules of `generate` that look at the tokens before a position: one class for each of its processors.

A rule takes scores (N, W, V), the position (N, W) int32 of the token that each follows, and the tokens (N, T) int32
from the start on; those after a position do not count for it. Rules whose `reads_source` is true take the encoder's
tokens (N, S) int32 too, padding included. Bans are `BANNED`, as in `scores`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.errors import SpecError
from neuronkit.shown import shown
from neuronkit.static.ops import one_hot
from neuronkit.static.sentinels import sentinel

# Of an id, written as 256 * high + low: two thin one-hot vectors in place of one over the vocabulary.
_LOW = 256
BANNED = -sentinel(torch.float32)


def spread(weights: Tensor, tokens: Tensor, classes: int) -> Tensor:
    """Sums of weights (N, W, T) over the places of equal tokens (N, T): (N, W, classes)."""
    high = torch.div(tokens, _LOW, rounding_mode="floor")
    low = one_hot(tokens - high * _LOW, _LOW, weights.dtype)
    high = one_hot(high, -(-classes // _LOW), weights.dtype)
    sums = torch.matmul(weights.unsqueeze(2) * high.transpose(1, 2).unsqueeze(1), low.unsqueeze(1))
    return sums.flatten(2)[..., :classes]


def ban(scores: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, torch.full_like(scores[:1, :1, :1], BANNED), scores)


def penalized(scores: Tensor, where: Tensor, penalty: float) -> Tensor:
    """Scores made less likely, those that are banned left as they are."""
    changed = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(where & (scores > 0.5 * BANNED), changed, scores)


def ngrams(text: Tensor, tokens: Tensor, positions: Tensor, size: int) -> Tensor:
    """Where (N, W, S) in a text (N, S) a token follows what stands before each position, as many tokens as given."""
    match = torch.ones_like(positions, dtype=torch.bool).unsqueeze(-1).expand(tokens.shape[0], -1, text.shape[1])
    for back in range(size):
        before = torch.full_like(text[:, :1], -2).expand(-1, back + 1)
        shifted = torch.cat([before, text], dim=1)[:, : text.shape[1]]
        match = match & (shifted.unsqueeze(1) == latest(tokens, positions, back).unsqueeze(-1))
    return match


def latest(tokens: Tensor, positions: Tensor, back: int) -> Tensor:
    """The token (N, W) so many places before each position; -1 where there is none."""
    place = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device)
    here = place == (positions - back).unsqueeze(-1)
    found = torch.where(here, tokens.unsqueeze(1), torch.zeros_like(here, dtype=torch.int32)).sum(-1)
    return torch.where(positions >= back, found.to(torch.int32), torch.full_like(found, -1, dtype=torch.int32))


class RepetitionPenalty(nn.Module):
    """Tokens that came before are made less likely."""

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        if getattr(processor, "prompt_ignore_length", None) is not None:
            raise SpecError("got a repetition_penalty that leaves a prompt out; expected one of all tokens; unset it")
        self.penalty = float(processor.penalty)

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device)
        seen = (place <= positions.unsqueeze(-1)).to(scores.dtype).expand(tokens.shape[0], -1, -1)
        return penalized(scores, spread(seen, tokens, scores.shape[-1]) > 0, self.penalty)


class EncoderRepetitionPenalty(nn.Module):
    """Tokens that the encoder was given are made more likely."""

    reads_source = True

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        self.penalty = float(processor.penalty)

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor, source: Tensor) -> Tensor:
        given = torch.ones_like(source, dtype=scores.dtype).unsqueeze(1)
        return penalized(scores, spread(given, source, scores.shape[-1]) > 0, self.penalty)


class NoRepeatNGram(nn.Module):
    """What would end a sequence of n tokens that came before is banned."""

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        self.size = int(processor.ngram_size)

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device)
        match = (place <= positions.unsqueeze(-1)) & ngrams(tokens, tokens, positions, self.size - 1)
        return ban(scores, spread(match.to(scores.dtype), tokens, scores.shape[-1]) > 0)


class EncoderNoRepeatNGram(nn.Module):
    """What would end a sequence of n tokens that the encoder was given is banned."""

    reads_source = True

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        self.size = int(processor.ngram_size)

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor, source: Tensor) -> Tensor:
        match = ngrams(source, tokens, positions, self.size - 1).to(scores.dtype)
        return ban(scores, spread(match, source, scores.shape[-1]) > 0)


class SequenceBias(nn.Module):
    """A number is added to the last token of a word where the others stand before it; -inf bans it."""

    biases: Tensor

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        given = {tuple(int(i) for i in word): float(bias) for word, bias in processor.sequence_bias.items()}
        unusable = {word: bias for word, bias in given.items() if not (bias == -math.inf or math.isfinite(bias))}
        if unusable:
            raise SpecError(f"got sequence_bias={shown(unusable)}; expected finite numbers or -inf; change it")
        self.banned = [word for word, bias in given.items() if bias == -math.inf]
        self.biased = [word for word, bias in given.items() if bias != -math.inf]
        self.register_buffer("biases", torch.tensor([given[word] for word in self.biased]), persistent=False)
        # Before 5, a word does not count where the others are all that there is.
        probe = copy.copy(processor)
        probe.sequence_bias, probe.prepared_bias_variables = {(0, 1): 1.0}, False
        self.least = 0 if bool(probe(torch.tensor([[0]]), torch.zeros(1, 2)).any()) else 1

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        longest = max(len(word) for word in (*self.banned, *self.biased)) - 1
        before = [latest(tokens, positions, back) for back in range(longest)]

        def ends(words: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
            matches = []
            for word in words:
                match = torch.ones_like(scores[..., 0], dtype=torch.bool)
                for back, token in enumerate(reversed(word[:-1])):
                    match = match & (before[back] == token)
                if self.least and len(word) > 1:
                    match = match & (positions >= len(word) - 1)
                matches.append(match)
            last = torch.tensor([word[-1] for word in words], dtype=torch.int32, device=scores.device)
            return torch.stack(matches, -1).to(scores.dtype), one_hot(last, scores.shape[-1], scores.dtype)

        if self.biased:
            matches, last = ends(self.biased)
            scores = scores + torch.matmul(matches, last * self.biases.to(scores.dtype).unsqueeze(-1))
        if self.banned:
            scores = ban(scores, torch.matmul(*ends(self.banned)) > 0)
        return scores


class ExponentialDecay(nn.Module):
    """The end becomes more likely, the longer a sequence is."""

    factors: Tensor
    ends: Tensor

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()
        self.last = steps - 1
        start, factor = processor.regulation_start, processor.regulation_factor
        factors = [pow(factor, n - start) - 1 if n > start else 0.0 for n in range(1, steps + 1)]
        self.register_buffer("factors", torch.tensor(factors).unsqueeze(1), persistent=False)
        self.register_buffer("ends", processor.eos_token_id.to(torch.int32).cpu(), persistent=False)

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        factors = nn.functional.embedding(positions.clamp(max=self.last), self.factors)
        changes = (one_hot(self.ends, scores.shape[-1], scores.dtype).sum(0) > 0) & (scores > 0.5 * BANNED)
        return torch.where(changes, scores + scores.abs() * factors, scores)


class Renormalize(nn.Module):
    """Scores become logarithms of probabilities."""

    def __init__(self, processor: Any, steps: int) -> None:
        super().__init__()

    def forward(self, scores: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        return scores.log_softmax(-1).clamp(min=BANNED)


# Processor → rule: the one place where a setting is added. Those by position alone are run, see `scores`.
RULES: dict[str, Callable[[Any, int], nn.Module]] = {
    "RepetitionPenaltyLogitsProcessor": RepetitionPenalty,
    "NoRepeatNGramLogitsProcessor": NoRepeatNGram,
    "EncoderRepetitionPenaltyLogitsProcessor": EncoderRepetitionPenalty,
    "EncoderNoRepeatNGramLogitsProcessor": EncoderNoRepeatNGram,
    "NoBadWordsLogitsProcessor": SequenceBias,
    "SequenceBiasLogitsProcessor": SequenceBias,
    "ExponentialDecayLengthPenalty": ExponentialDecay,
    "LogitNormalization": Renormalize,
}
