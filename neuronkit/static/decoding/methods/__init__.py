"""The methods of decoding in fixed shapes: what one is made of, and which there are."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.shapes.rows import Carry

METHOD_MODULES = ("fixed_point", "stepwise", "unrolled", "fused", "windowed")
AUTO = "auto"
# Not to be chosen: another search, and not another way to the same result.
BEAMS = "beams"
Graphs = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Parts:
    """What the graphs of a model are made of.

    Attributes:
        decoding: The settings.
        specs: The model's inputs.
        encoder: Takes the inputs and gives the memory; None where the memory is the input.
        decoder: In one of the protocols.
        steps: The decoder as steps: itself, or one position at a time of a decoder of all positions.
        memory: Gives an example of the memory, rows as in `specs`.
        classes: How many ids the decoder predicts, where it is known.
    """

    decoding: Decoding
    specs: tuple[TensorSpec, ...]
    encoder: nn.Module | None
    decoder: Any
    steps: Any
    memory: Callable[[], Tensor]
    classes: int | None = None

    @property
    def rows(self) -> int:
        """N of the fixed batch."""
        return self.specs[0].shape[0]


class Method(ABC):
    """One way of decoding: its graphs, and the loop that runs them.

    Attributes:
        name: What options call it.
        needs_logits: Whether it computes several positions at once, which a decoder given as steps cannot.
        keeps_caches: Whether it uses the caches of a decoder that offers them; see `stepwise`.
        needs_caches: Whether it needs them.
    """

    name: ClassVar[str]
    needs_logits: ClassVar[bool] = False
    keeps_caches: ClassVar[bool] = False
    needs_caches: ClassVar[bool] = False

    @abstractmethod
    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        """The graphs: name → module."""

    @abstractmethod
    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        """The inputs of each graph."""

    @abstractmethod
    def join(self, decoding: Decoding, graphs: Graphs) -> Any:
        """Connect compiled graphs to a module from the model's inputs to logits.

        It has a method ``read``, which gives the number of decoder calls too, unless `calls` does.
        """

    def settled(self, decoding: Decoding) -> Decoding:
        """The settings, with what the method itself decides."""
        return decoding

    def calls(self, decoding: Decoding) -> int | None:
        """Decoder calls that every batch takes, where one graph makes them all; None where a loop counts them."""
        return None

    def carry(self, decoding: Decoding) -> Carry | None:
        """How rows go on in later batches, where the one graph says which have settled; None where none has to."""
        return None


_registered: dict[str, Method] = {}


def register_method(method: Method) -> None:
    """Register your own method for as long as the process runs; artifacts made with it need it to load.

    Raises:
        OptionError: If neuronkit itself has a method of that name.
    """
    if method.name in (AUTO, BEAMS, *METHOD_MODULES):
        raise OptionError(
            f"got method {method.name!r}; expected a name that neuronkit does not use; choose another one"
        )
    _registered[method.name] = method


def methods() -> Iterator[Method]:
    """Every registered method."""
    for name in METHOD_MODULES:
        yield importlib.import_module(f"neuronkit.static.decoding.methods.{name}").METHOD
    yield from _registered.values()


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        OptionError: If there is none.
    """
    if name == BEAMS:
        return importlib.import_module("neuronkit.static.decoding.beams").METHOD  # type: ignore[no-any-return]
    known = {method.name: method for method in methods()}
    return known[checks.choice("method", name, tuple(known))]


def join(joining: Mapping[str, Any], graphs: Graphs) -> Any:
    """Join graphs as a manifest says.

    Args:
        joining: What `Decoding.to_dict` gave.
        graphs: Name → compiled graph.

    Raises:
        OptionError: If its method is not known here.
        LookupError, TypeError: If it is not what `Decoding.to_dict` gives, or a graph is missing.
    """
    decoding = Decoding.from_dict(joining)
    return find_method(decoding.method).join(decoding, graphs)


def carry_of_joining(joining: Mapping[str, Any] | None) -> Carry | None:
    """How rows go on in later batches, as a manifest's `joining` says; None where none has to."""
    if joining is None:
        return None
    decoding = Decoding.from_dict(joining)
    return next((m.carry(decoding) for m in methods() if m.name == decoding.method), None)


def check_method(name: Any) -> str:
    """Return `name` when it is a method's, or "auto".

    Raises:
        OptionError: If it is not.
    """
    return checks.choice("method", name, (AUTO, *(method.name for method in methods())))


def choose_method(name: Any, decoder: Any, owner: str) -> str:
    """Settle on a method: "auto" computes all positions at once where the decoder can.

    Args:
        name: What the options say.
        decoder: In one of the protocols.
        owner: The decoder's name, for messages.

    Raises:
        OptionError: If there is no such method, or the decoder cannot be run by it.
    """
    name = check_method(name)
    if name == AUTO:
        return "fixed_point" if hasattr(decoder, "logits") else "stepwise"
    if find_method(name).needs_logits and not hasattr(decoder, "logits"):
        usable = " or ".join(repr(method.name) for method in methods() if not method.needs_logits)
        raise OptionError(
            f"got method={name!r}, which computes several positions at once; {owner} gives step(token, state, memory), "
            f"one at a time; choose {usable}, or give the decoder as logits(tokens, memory)"
        )
    if find_method(name).needs_caches and getattr(decoder, "prefix", None) is None:
        raise OptionError(
            f"got method={name!r}, which keeps what earlier positions gave; {owner} takes no such caches, or not with "
            "its settings; choose 'fixed_point' or 'stepwise', or give a decoder with prefix, prefill and advance"
        )
    return name
