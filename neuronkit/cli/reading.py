"""``neuronkit read`` and ``neuronkit demo``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from neuronkit.cli.streams import write

Result = tuple[Any, int]


def add_commands(add: Any) -> None:
    """Add the commands of this file."""
    from neuronkit.ocr.writers import FORMATS

    read = add("read", _read, "read pictures, folders and PDF", "neuronkit read scans/ letter.pdf -o letter.txt")
    read.add_argument("sources", nargs="+", metavar="SOURCE", help="pictures, PDF, folders, patterns; - is stdin")
    read.add_argument(
        "-o", "--output", help="file, or a folder (ending in /) with a file for each source, which resumes"
    )
    kinds = f"one of {', '.join(FORMATS)} (by the ending of the output, or text)"
    read.add_argument("-f", "--format", metavar="FORMAT", choices=FORMATS, help=kinds)
    read.add_argument("--pages", help="which pages of each file: 1-3,7,9-")
    read.add_argument("--dpi", type=float, default=200.0, help="resolution at which PDF is drawn (%(default)g)")
    read.add_argument("--rotate", type=int, default=0, choices=(0, 90, 180, 270), help="turn pages, counter-clockwise")
    read.add_argument("--turned", action="store_true", help="find out which pages are turned")
    read.add_argument("--detector", help="artifact of a detector (the demo's small weights)")
    read.add_argument("--recognizer", help="artifact of a recogniser")
    read.add_argument("--quiet", action="store_true", help="no progress")
    demo = add("demo", _demo, "read the demo's pictures with every kind of model, and compare", "neuronkit demo")
    demo.add_argument("--out", default="out/demo.png", help="annotated receipt; the rest goes beside (%(default)s)")


def _read(given: Any) -> Result:
    from neuronkit.ocr import page_stream, save_pages
    from neuronkit.ocr.writers import page_text

    _check_streams(given)
    pipeline = _pipeline(given)
    progress = _Progress(given.quiet)
    options = {"pages": given.pages, "dpi": given.dpi, "rotation": given.rotate}
    if given.output and (given.output.endswith(os.sep) or Path(given.output).is_dir()):
        kind = given.format or ("json" if given.json else "text")
        report = pipeline.read_files(given.sources, given.output, format=kind, progress=progress.note, **options)
        shown = {
            "read": [str(path) for path in report.read],
            "skipped": {str(path): why for path, why in report.skipped.items()},
            "failed": {str(path): why for path, why in report.failed.items()},
        }
        return (shown if given.json else report), bool(report.failed)
    sources = [sys.stdin.buffer.read() if source == "-" else source for source in given.sources]
    pages = progress.over(pipeline.read(page_stream(sources, **options)))
    result = None
    if given.output:
        save_pages(pages, given.output, format=given.format)
        if given.json:
            result = {"written": given.output, "pages": progress.pages, "failed": progress.failed}
    elif given.format == "pdf":
        _pdf_to_stdout(pages)
    else:
        kind = given.format or ("json" if given.json else "text")
        for part in page_text(pages, kind):
            write(part, as_it_is=kind != "text")
    if not progress.pages:
        print("neuronkit read: no page was read; --pages names none of these files", file=sys.stderr)
    return result, progress.failed > 0 or not progress.pages


def _check_streams(given: Any) -> None:
    from neuronkit.errors import OptionError

    if given.sources.count("-") > 1:
        raise OptionError("got - more than once; expected one picture from standard input; give the others as files")
    if "-" in given.sources and sys.stdin is None:
        raise OptionError("got -, and standard input is closed; expected a picture there; give a file")
    if not given.output and sys.stdout is None:
        raise OptionError("got no output, and standard output is closed; expected one of them; give --output")


def _pdf_to_stdout(pages: Any) -> None:
    from neuronkit.ocr import save_pages
    from neuronkit.storage.atomic import temporary_directory

    with temporary_directory("pages") as folder:
        save_pages(pages, folder / "out.pdf")
        sys.stdout.buffer.write((folder / "out.pdf").read_bytes())


def _pipeline(given: Any) -> Any:
    from neuronkit.demo.reader import WHAT_IT_READS, demo_reader
    from neuronkit.errors import OptionError

    rotations = (90, 180, 270) if given.turned else ()
    if given.detector is None and given.recognizer is None:
        print(f"neuronkit read: {WHAT_IT_READS}", file=sys.stderr)
        return demo_reader(rotations=rotations)
    if given.detector is None or given.recognizer is None:
        raise OptionError("got one of --detector and --recognizer; expected both or neither; give the other one too")
    from neuronkit.artifact import load
    from neuronkit.ocr import OCRPipeline

    return OCRPipeline(load(given.detector), load(given.recognizer), rotations=rotations)


class _Progress:
    """Counts pages on stderr, where that is a terminal, and says why pages could not be read."""

    def __init__(self, quiet: bool) -> None:
        from tqdm import tqdm

        self.pages = self.failed = 0
        self._bar = tqdm(unit="page", disable=True if quiet else None)

    def note(self, page: Any) -> None:
        from neuronkit.ocr.pipeline.doubts import TRY_ROTATIONS

        self.pages += 1
        self._bar.update()
        if page.error is not None:
            self.failed += 1
            print(f"neuronkit read: {page.error}", file=sys.stderr)
        for text in page.warnings:
            print(f"neuronkit read: {page.name}: {text.replace(TRY_ROTATIONS, '--turned')}", file=sys.stderr)

    def over(self, pages: Any) -> Iterator[Any]:
        for page in pages:
            self.note(page)
            yield page
        self._bar.close()


def _demo(given: Any) -> Result:
    from neuronkit.demo.__main__ import run

    # With --json, stdout holds the result alone.
    found = run(Path(given.out), partial(print, file=sys.stderr if given.json else None, flush=True))
    return (found if given.json else None), bool(found["problems"])
