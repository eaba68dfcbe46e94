"""Drop-ins: the pipelines of other libraries, as they are, with their networks compiled.

Each module has `accelerate`, which replaces the networks inside an object that the caller made, and `restore`, which
puts the originals back. A module imports its library when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronkit.lazy import lazy_names

if TYPE_CHECKING:
    from neuronkit.integrations import doctr as doctr
    from neuronkit.integrations import easyocr as easyocr
    from neuronkit.integrations import huggingface as huggingface

__all__ = ["doctr", "easyocr", "huggingface"]
__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__))
