"""``neuronkit analyze``, ``estimate``, ``compile`` and ``compare``."""

from __future__ import annotations

import sys
from typing import Any

Result = tuple[Any, int]


def add_commands(add: Any) -> None:
    """Add the commands of this file."""
    command = add(
        "analyze",
        _analyze,
        "list the operators that a target does not take",
        "neuronkit analyze craft.pth --target inf1",
    )
    _model_options(command)
    command = add(
        "estimate",
        _estimate,
        "a lower bound of time and price on a chip",
        "neuronkit estimate parseq.ckpt --target inf2",
    )
    _model_options(command)
    example = "neuronkit compile parseq.ckpt -o parseq.pt --target cpu --batch 8"
    command = add("compile", _compile, "compile a checkpoint to an artifact", example)
    _model_options(command)
    command.add_argument("-o", "--output", required=True, help="artifact to write")
    command.add_argument("--no-verify", action="store_true", help="do not compare with the original")
    example = "neuronkit compare parseq.pt parseq.ckpt word.png"
    command = add("compare", _compare, "compare artifacts of one model, and its checkpoint", example)
    command.add_argument("artifact")
    command.add_argument("other", help="another artifact, or a checkpoint")
    command.add_argument("inputs", nargs="+", help="pictures, or .npy files with the first input")
    command.add_argument(
        "--also", action="append", default=[], help="a further artifact or checkpoint; may be repeated"
    )
    command.add_argument("--charset", help="characters of a PARSeq checkpoint that does not state them")
    command.add_argument("--tolerance", type=float, default=1e-4, help="relative and absolute (%(default)g)")


def _model_options(command: Any) -> None:
    command.add_argument("checkpoint", help="file of CRAFT or PARSeq weights")
    command.add_argument("--family", choices=("craft", "parseq"), help="recognised by the file's tensors")
    command.add_argument("--charset", help="characters of a PARSeq checkpoint that does not state them")
    command.add_argument("--canvas", default="1280x960", help="HEIGHTxWIDTH of a detector's input (%(default)s)")
    command.add_argument("--batch", type=int, default=1, help="rows a call (%(default)s)")
    command.add_argument("--target", default="inf2", help="cpu, onnx, openvino, inf1, inf2, trn1, ... (%(default)s)")


def _static(given: Any) -> Any:
    from neuronkit import make_static
    from neuronkit.models.any_file import open_model
    from neuronkit.models.craft import CRAFT

    model = open_model(given.checkpoint, family=given.family, charset=given.charset)
    options = None
    if isinstance(model, CRAFT):
        from neuronkit import CRAFTOptions

        options = CRAFTOptions(*_canvas(given.canvas))
    return make_static(model, batch_size=given.batch, options=options)


def _canvas(text: str) -> tuple[int, int]:
    from neuronkit.errors import OptionError

    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise OptionError(f"got --canvas {text!r}; expected height and width in pixels; give such as 1280x960")
    return int(height), int(width)


def _analyze(given: Any) -> Result:
    from neuronkit import analyze

    report = analyze(_static(given), target=given.target)
    return report, bool(report.unsupported)


def _estimate(given: Any) -> Result:
    from neuronkit import estimate

    return estimate(_static(given), target=given.target), 0


def _compile(given: Any) -> Result:
    from neuronkit import compile_for_inferentia
    from neuronkit.artifact.saving import destination
    from neuronkit.ocr import CraftProcessor
    from neuronkit.targets import find_target

    # Checked first: compiling can take hours.
    destination(given.output, directory=find_target(given.target).saves_directory)
    static = _static(given)
    images = static.specs[0].shape
    # Of a recogniser the characters are known, and so its processor.
    finds = any(spec.name == "valid_size" for spec in static.specs)
    processor = CraftProcessor(canvas=(images[2], images[3])) if finds else None
    compiled = compile_for_inferentia(
        static, target=given.target, processor=processor, verify=not given.no_verify, progress=sys.stderr.isatty()
    )
    compiled.save(given.output)
    return (compiled.manifest if given.json else compiled), 0


def _compare(given: Any) -> Result:
    from neuronkit import compare_models

    models, tolerance = [given.artifact, given.other, *given.also], given.tolerance
    return compare_models(models, given.inputs, charset=given.charset, rtol=tolerance, atol=tolerance), 0
