"""Greedy decoding in fixed shapes: the protocols of decoders, the methods that run them, and the loops around graphs.

A method is one file, such as `fixed_point`, and one line in `methods.METHOD_MODULES`.
"""
