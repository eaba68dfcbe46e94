"""One fixed canvas for images of any size: the padding has no influence on the result.

python examples/any_size.py
"""

import torch
from torch import nn

from neuronkit import FixedShape, TensorSpec, compile_for_inferentia, exact_padding

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, padding=1), nn.Sigmoid()
).eval()

padded = exact_padding(network)
specs = (TensorSpec("images", (2, 3, 64, 96)), TensorSpec("valid_size", (2, 2), "int32", fill=32))
compiled = compile_for_inferentia(padded, specs, target="cpu")
# Half the size of the images, after one pooling.
serve = FixedShape(compiled, valid_size="valid_size", output_sizes=0.5)

for height, width in ((64, 96), (40, 70), (32, 32)):
    image = torch.rand(1, 3, height, width)
    with torch.no_grad():
        alone, zeros = network(image), network(nn.functional.pad(image, (0, 96 - width, 0, 64 - height)))
    exact = (serve(image) - alone).abs().max()
    plain = (zeros[..., : height // 2, : width // 2] - alone).abs().max()
    print(f"{height} x {width}: off by {exact:.1e}, with plain zeros around it by {plain:.1e}")
