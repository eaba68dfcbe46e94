"""Rendered text as photographs and scanners show it: what the demo's models are trained on."""
