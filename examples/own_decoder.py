"""A decoder of one's own, recurrent and greedy, as a static graph: same tokens as the loop that it replaces.

python examples/own_decoder.py
"""

import torch
from torch import Tensor, nn

from neuronkit import TensorSpec, compile_for_inferentia, static_greedy_decoder

END, BEGIN, LENGTH = 0, 8, 10


class Speller(nn.Module):
    """memory (N, 16) → tokens below 9."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.out = nn.Embedding(9, 16), nn.GRUCell(16, 16), nn.Linear(16, 9)

    def initial_state(self, memory: Tensor) -> Tensor:
        """The state before the first token."""
        return memory

    def step(self, token: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next token, and the next state."""
        state = self.cell(self.embed(token), state)
        return self.out(state), state


def loop(speller: Speller, memory: Tensor) -> list[list[int]]:
    """Greedy decoding as one writes it, row by row."""
    rows = []
    for row in memory.split(1):
        token, state, tokens = torch.tensor([BEGIN]), speller.initial_state(row), []
        for _ in range(LENGTH + 1):
            logits, state = speller.step(token, state, row)
            token = logits.argmax(-1)
            if token == END:
                break
            tokens.append(int(token))
        rows.append(tokens)
    return rows


torch.manual_seed(1)
speller, memory = Speller().eval(), torch.randn(4, 16)
static = static_greedy_decoder(
    speller, max_length=LENGTH, bos_id=BEGIN, eos_id=END, memory=TensorSpec("memory", (4, 16))
)
compiled = compile_for_inferentia(static, target="cpu")
with torch.no_grad():
    expected, tokens = loop(speller, memory), compiled(memory).argmax(-1).tolist()
for row, wanted in zip(tokens, expected):
    assert row[: len(wanted)] == wanted
    print(wanted)
