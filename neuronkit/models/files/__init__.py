"""Reads checkpoint files of any origin as data: nothing that a file names is imported, looked up or called."""
