"""A module's graph as TorchScript, torch.export program or ONNX, and the operators in it; for targets and analysis."""
