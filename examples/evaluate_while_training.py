"""In a training loop: what will be served is evaluated between optimizer steps, on live weights.

python examples/evaluate_while_training.py
"""

import torch

from neuronkit import StaticPARSeq
from neuronkit.demo.weights import load_parseq

torch.manual_seed(0)
model = load_parseq().train()
static = StaticPARSeq(model, batch_size=4)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
words = torch.rand(4, 3, 32, 128) * 2 - 1

for step in range(3):
    optimizer.zero_grad()
    loss = model(words, max_length=5).square().mean()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        tokens = static(words).argmax(-1)
    print(f"step {step}: loss {loss:.3f}, first word {tokens[0, :5].tolist()}, still in train mode: {model.training}")
