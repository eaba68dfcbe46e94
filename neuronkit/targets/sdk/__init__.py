"""What the targets of the Neuron SDKs share: finding an SDK, compiling in a child process, explaining its failures."""
