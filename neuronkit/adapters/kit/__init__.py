"""What adapters of several families share: encoder–decoders, attention, recurrent layers, options, canvases."""
