"""What can be known before an instance is rented: operators, precision, and the least time and price.

python examples/before_renting.py
"""

import torch

from neuronkit import StaticPARSeq, analyze, emulate_autocast, estimate
from neuronkit.demo.weights import load_parseq

model = load_parseq()
static = StaticPARSeq(model, batch_size=8)

for target in ("inf1", "inf2"):
    report = analyze(static, target=target)
    print(f"{target}: {report.total} operators, {report.supported_fraction:.0%} taken, problems: {report.problems}")

# The compiler's default on Inf2: matrix products in bfloat16.
words = torch.rand(8, 3, 32, 128) * 2 - 1
with torch.no_grad():
    difference = (emulate_autocast(static)(words) - static(words)).abs().max()
print(f"largest difference of a logit under auto-cast: {difference:.3f}")

print(estimate(static, target="inf2"))
