"""Pickles as data."""
