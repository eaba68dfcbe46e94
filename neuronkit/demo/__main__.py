"""Read the demo's receipt and sign with dynamic, static and compiled models: ``python -m neuronkit.demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from neuronkit.demo import picture
from neuronkit.demo.picture import Truth
from neuronkit.demo.reading import Models, disagreements, match_words
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import OptionError, ParityError
from neuronkit.ocr.images import load_image
from neuronkit.ocr.page import Page, Word
from neuronkit.ocr.pipeline.folder import made_folder
from neuronkit.ocr.writers import format_of
from neuronkit.shown import shown

REQUIRED = 0.9
"""Share of the words that must be read right."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status, 1 below `REQUIRED` or on any disagreement."""
    parser = argparse.ArgumentParser(prog="python -m neuronkit.demo", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo.png"),
        help="annotated receipt; the sign and the artifacts go beside",
    )
    found = run(parser.parse_args(arguments).out, partial(print, flush=True))
    return 1 if found["problems"] else 0


def run(out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Read the pictures with every kind of model, and compare.

    Args:
        out: The annotated receipt; the sign and the artifacts go beside it.
        tell: Called with each line of output.

    Returns:
        For each picture the numbers of its words, of those that were read right, and of those that are not there, its
        parity reports as dictionaries, and its annotated copy; the problems; and the artifacts.

    Raises:
        OptionError: If `out` is not a picture, or its folder cannot be made.
    """
    # Before minutes of work, of which it is the end.
    if format_of(out) != "picture":
        raise OptionError(f"got {shown(out)}; expected a picture to write; give an ending such as .png")
    made_folder("out", out.parent)
    tell("1/4 small models that find and read words")
    craft, parseq = load_craft(), load_parseq()
    tell("2/4 making static graphs of both, compiling them for the CPU, saving and loading them")
    models = Models.prepare(craft, parseq, out.parent)
    problems: list[str] = []
    pictures = [
        _read(models, picture.IMAGE, out, tell, problems),
        _read(models, picture.SIGN, out.with_name(f"{out.stem}-sign{out.suffix}"), tell, problems),
    ]
    artifacts = [str(out.parent / name) for name in ("craft.pt", "parseq.pt")]
    tell(f"artifacts: {', '.join(artifacts)}")
    tell("\n".join(problems) or "dynamic, static and reloaded models read the same")
    return {"pictures": pictures, "problems": problems, "artifacts": artifacts}


def _read(models: Models, path: Path, out: Path, tell: Callable[[str], None], problems: list[str]) -> dict[str, Any]:
    """Read a picture, print its words, draw them into another; append what is wrong to the problems."""
    image, truth = load_image(path), picture.load_truth(path)
    tell(f"3/4 reading a picture of {len(truth)} words ({path.name}) with the dynamic, static and compiled models")
    pages = models.read(image)
    page = pages["reloaded"]
    right, extra = _print_words(truth, page, tell)
    share = right / (len(truth) + extra)
    problems += disagreements(pages)
    tell("4/4 comparing their numbers with those of the dynamic models")
    parity = {}
    try:
        parity = models.parity(image, pages["dynamic"])
        for name, report in parity.items():
            tell(f"{name} against dynamic: {report}")
    except ParityError as error:
        problems.append(str(error))
    Image.fromarray(page.draw(image)).save(out)
    tell(f"annotated picture: {out}\n")
    if share < REQUIRED:
        problems.append(f"{path.name}: {share:.1%} of the words were read right, {REQUIRED:.0%} are required")
    return {
        "words": len(truth),
        "right": right,
        "extra": extra,
        "parity": {name: report.to_dict() for name, report in parity.items()},
        "picture": str(out),
    }


def _print_words(truth: Sequence[Truth], page: Page, tell: Callable[[str], None]) -> tuple[int, int]:
    """Print the words beside the truth; return how many are right, and how many are missing, which are errors too."""
    matches = match_words(truth, page.words)
    right = sum(_text(match) == true.text for true, match in zip(truth, matches, strict=True))
    tell(f"{'truth':>12}   read")
    for true, match in zip(truth, matches, strict=True):
        read = "(not found)" if match is None else match.text
        confidence = "" if match is None else f"{match.confidence:.2f}"
        tell(f"{true.text:>12}   {read:<12} {confidence:>5} {'' if read == true.text else '  wrong'}")
    extra = len(page.words) - sum(match is not None for match in matches)
    tell(f"{right} of {len(truth)} words right, {extra} that are not there: {right / (len(truth) + extra):.1%}")
    return right, extra


def _text(word: Word | None) -> str | None:
    return None if word is None else word.text


if __name__ == "__main__":
    sys.exit(main())
