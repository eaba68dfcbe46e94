"""From a checkpoint to an artifact, and back: what a training repository writes, compiled, saved and loaded.

python examples/from_a_checkpoint.py
"""

import tempfile
from pathlib import Path

import torch

import neuronkit
from neuronkit.demo.weights import load_parseq
from neuronkit.models import PARSeq, load_checkpoint

with tempfile.TemporaryDirectory() as folder:
    # A trainer's checkpoint: weights, and the settings that the model was built with.
    trained = load_parseq()
    checkpoint, artifact = Path(folder, "parseq.ckpt"), Path(folder, "parseq.pt")
    settings = {"charset_train": trained.charset.characters}
    torch.save({"state_dict": trained.state_dict(), "hyper_parameters": settings}, checkpoint)

    # The published heads have 64 and 32 channels each; this small model has others, which no tensor shows.
    heads = (trained.encoder.blocks[0].attn.num_heads, trained.decoder.layers[0].self_attn.num_heads)
    model = load_checkpoint(PARSeq, checkpoint, heads=heads)
    compiled = neuronkit.compile_for_inferentia(neuronkit.StaticPARSeq(model, batch_size=4), target="cpu")
    compiled.save(artifact)

    words = torch.rand(4, 3, 32, 128) * 2 - 1
    loaded = neuronkit.load(artifact)
    with torch.no_grad():
        same = torch.equal(loaded(words).argmax(-1)[:, 0], model(words).argmax(-1)[:, 0])
    print(loaded)
    print("first characters as the model reads them:", same)
