"""A module's graph as TorchScript or as a torch.export program, and the operators in it; for targets and analysis."""
