"""Training and evaluation of the demo's weights."""
