"""A builder process of its own: compiles one small model and prints what the manifest says of the cache.

``python builder.py SDK CACHE TARGET``: the directory of the SDK's double, and that of the cache.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import torch
    from torch import nn

    from neuronkit import CompileOptions, TensorSpec, compile_for_inferentia

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    options = CompileOptions(cache_dir=sys.argv[2])
    compiled = compile_for_inferentia(model, TensorSpec("x", (2, 4)), target=sys.argv[3], options=options)
    print(json.dumps(compiled.manifest["cache"]["main"]))
