"""`emulate_autocast`: a model on the CPU with the roundings of Neuron's auto-cast."""
