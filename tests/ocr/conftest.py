"""The same examples in every run: a failure in CI is a failure here."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True)
settings.load_profile("deterministic")
