"""EasyOCR's Reader with compiled networks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from neuronkit import checks
from neuronkit.adapters.craft import CRAFTOptions
from neuronkit.adapters.kit.canvas import STRIDE
from neuronkit.adapters.lines.model import LineOptions
from neuronkit.adapters.registry import family_of, make_static
from neuronkit.artifact import CompiledModel
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import OptionError
from neuronkit.integrations.stand_in import StandIn, batch_sizes, check_network, compiled_models, original_of
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.static.exact.trace import way_out
from neuronkit.static.model import StaticModel
from neuronkit.static.original import unwrap

__all__ = ["accelerate", "restore"]
# Of lines, in pixels. EasyOCR passes multiples of its height, 64.
WIDTHS = (128, 256, 512, 1024)


def accelerate(
    reader: Any,
    *,
    target: str = "cpu",
    canvas_size: int = 2560,
    batch_size: int = 1,
    canvases: Sequence[tuple[int, int]] | None = None,
    widths: Sequence[int] | None = None,
    detector: CompiledModel | Sequence[CompiledModel] | None = None,
    recognizer: CompiledModel | Sequence[CompiledModel] | None = None,
    options: CompileOptions | None = None,
    op_whitelist: Sequence[str] = (),
    verify: bool = True,
    progress: bool | None = None,
) -> Any:
    """Compile the detector and the recogniser of an EasyOCR Reader, and put them in their place.

    The Reader keeps its interface and settings, and gives what it gives without, at the same `batch_size` and
    `rotation_info`: a line's width is that of the tensor that EasyOCR passes, and the columns that EasyOCR replicates
    are content. A line therefore goes on depending on the others of its page where it does in EasyOCR.

    Args:
        reader: An `easyocr.Reader` of float weights, made with ``quantize=False``; of the networks CRAFT and generation
            1 or 2. It may lack either.
        target: As in `compile_for_inferentia`.
        canvas_size: The largest that `readtext` will be called with.
        batch_size: Likewise.
        canvases: (height, width) of pages as EasyOCR scales them, in pixels, rounded up to 32; None takes squares of
            `canvas_size`, of half and of a quarter of it.
        widths: Of lines at a height of 64 pixels; None takes 128, 256, 512 and 1024.
        detector: Compiled models of this detector, such as ``reader.detector.compiled`` held before, loaded again; None
            compiles it.
        recognizer: Likewise, of the recogniser.
        options: Options of the compile.
        op_whitelist: As in `compile_for_inferentia`.
        verify: Compare with the originals before and after compiling.
        progress: Show on stderr what goes on; None shows it on a terminal.

    Returns:
        The same reader.

    Raises:
        OptionError: If it is not a Reader, a network is quantised or not one of those named, a size is not a whole
            number, or a compiled model belongs to another network.
        NeuronKitError: Whatever `make_static` and `compile_for_inferentia` raise; the reader is then unchanged.

    Examples:
        ``reader = easyocr.accelerate(Reader(["en"], quantize=False), target="inf2", batch_size=8)``
    """
    _check_detector(getattr(reader, "detector", None))
    networks = _networks(reader)
    canvas_size = checks.integer("canvas_size", canvas_size, 4 * STRIDE)
    rows = batch_sizes(checks.integer("batch_size", batch_size, 1))
    sides = sorted({canvas_size // part for part in (4, 2, 1)})
    squares = [(side, side) for side in sides]
    found = checks.items("canvases", squares if canvases is None else canvases, "sizes", least=1)
    read = checks.items("widths", WIDTHS if widths is None else widths, "numbers of pixels", least=1)
    settings: Any = {"options": options, "op_whitelist": op_whitelist, "verify": verify, "progress": progress}
    compile_ = partial(compile_for_inferentia, target=target, **settings)
    stand_ins: dict[str, StandIn] = {}
    for name, network in networks.items():
        check_network(name, network, "make the Reader with quantize=False")
        if name == "detector":
            statics = _detectors(network, [checks.integers("canvases", size, 2, STRIDE) for size in found])
            stand_ins[name] = DetectorStandIn(network, compiled_models(name, statics, detector, compile_))
        else:
            lines = [checks.integer("widths", width, 1) for width in read]
            statics = _recognizers(network, lines, rows)
            stand_ins[name] = RecognizerStandIn(network, compiled_models(name, statics, recognizer, compile_))
    for name, stand_in in stand_ins.items():
        setattr(reader, name, stand_in)
    return reader


def restore(reader: Any) -> Any:
    """Put the original networks back.

    Args:
        reader: What `accelerate` was called with.

    Returns:
        The same reader.

    Raises:
        OptionError: If it is not a Reader.

    Examples:
        ```python
        restore(reader)
        ```
    """
    for name, network in _networks(reader).items():
        setattr(reader, name, network)
    return reader


class DetectorStandIn(StandIn):
    """Replaces CRAFT."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (N, 3, H, W), as EasyOCR scales them → score maps (N, H / 2, W / 2, 2), and no features: EasyOCR does
        not look at them.
        """
        if not self.serves(images):
            return self.original(images)  # type: ignore[no-any-return]
        maps = self.compute(images)
        return maps if isinstance(maps, tuple) else (maps, None)


class RecognizerStandIn(StandIn):
    """Replaces a recogniser."""

    def forward(self, images: Tensor, text: Any = None) -> Tensor:
        """Images (N, 1, 64, W), filled up by EasyOCR to one width → logits (N, T, C)."""
        return self.compute(images) if self.serves(images) else self.original(images, text)  # type: ignore[no-any-return]


def _networks(reader: Any) -> dict[str, nn.Module]:
    """The reader's own networks, whether or not something stands in for them."""
    parts = {name: original_of(getattr(reader, name, None)) for name in ("detector", "recognizer")}
    networks = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    if not networks or not hasattr(reader, "readtext"):
        raise OptionError(
            f"got reader={shown(reader)}; expected an easyocr.Reader with a detector or a recogniser; give the Reader"
        )
    return networks


def _check_detector(detector: Any) -> None:
    """Refuse all but CRAFT; EasyOCR's DBNet is not a module, but holds one."""
    if detector is None or isinstance(detector, StandIn):
        return
    family = family_of(detector) if isinstance(detector, nn.Module) else None
    if family is None or family.options is not CRAFTOptions:
        held = detector if isinstance(detector, nn.Module) else getattr(detector, "model", None)
        otherwise = 'make the Reader with detect_network="craft"'
        advice = way_out(unwrap(held), otherwise) if isinstance(held, nn.Module) else otherwise
        raise OptionError(
            f"got a Reader with the detector {type(unwrap(detector)).__name__}; expected CRAFT, of the others no exact "
            f"form is known; {advice}"
        )


def _detectors(network: nn.Module, canvases: Sequence[Sequence[int]]) -> list[StaticModel]:
    sizes = {tuple(-(-side // STRIDE) * STRIDE for side in canvas) for canvas in canvases}
    return [
        make_static(network, options=CRAFTOptions(height, width, features=False)) for height, width in sorted(sizes)
    ]


def _recognizers(network: nn.Module, widths: Sequence[int], rows: Sequence[int]) -> list[StaticModel]:
    family = family_of(network)
    if family is None or family.options is not LineOptions:
        raise OptionError(
            f"got a Reader with the recogniser {type(unwrap(network)).__name__}; expected EasyOCR's generation 1 or 2, "
            "or one of their structure; register its family first, see docs/adding-a-family.md"
        )
    # Custom networks set the height of all lines.
    height = getattr(sys.modules.get("easyocr.easyocr"), "imgH", None)
    return [
        make_static(network, batch_size=count, options=LineOptions(width, height))
        for width in sorted(set(widths))
        for count in rows
    ]
