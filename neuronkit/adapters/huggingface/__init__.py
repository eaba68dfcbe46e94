"""Encoder–decoders of Hugging Face transformers, decoded as their `generate` does."""

from neuronkit.adapters.huggingface.model import FAMILY as FAMILY
from neuronkit.adapters.huggingface.model import StaticHuggingFace as StaticHuggingFace
from neuronkit.adapters.huggingface.options import HuggingFaceOptions as HuggingFaceOptions
