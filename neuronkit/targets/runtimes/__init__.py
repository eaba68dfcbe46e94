"""What the runtimes of ONNX graphs share: the export, folders of graphs with one file of weights, the target."""
