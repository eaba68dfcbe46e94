"""Rules for operators that move entries between channels and places."""

from __future__ import annotations

from torch import nn

from neuronkit.static.exact.call import Call
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import Extent, step
from neuronkit.static.exact.values import Value


@rule("pixel_shuffle", modules=[nn.PixelShuffle])
def pixel_shuffle(call: Call) -> Value:
    x = call.image()
    (factor,) = call.read("upscale_factor")
    known = x.dims or ()
    channels = known[1] // factor**2 if isinstance(known[1], int) else None
    dims = [step(dim, lambda n: n * factor) for dim in known[2:]]
    return call.builder.output(call.again(), (known[0], channels, *dims), x.fill)


@rule("pixel_unshuffle", modules=[nn.PixelUnshuffle])
def pixel_unshuffle(call: Call) -> Value:
    x = call.image()
    (factor,) = call.read("downscale_factor")
    known = x.dims or ()
    for dim in known[2:]:
        if isinstance(dim, Extent):
            builder = call.builder
            whole = dim.then(lambda n: n // factor * factor)
            if whole is not dim:
                builder.agree(dim, whole)
    channels = known[1] * factor**2 if isinstance(known[1], int) else None
    dims = [step(dim, lambda n: n // factor) for dim in known[2:]]
    return call.builder.output(call.again(), (known[0], channels, *dims), x.fill)


@rule("channel_shuffle", modules=[nn.ChannelShuffle])
def channel_shuffle(call: Call) -> Value:
    x = call.image()
    return call.builder.output(call.again(), x.dims, x.fill)
