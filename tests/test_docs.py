"""The documentation is true: its code runs, its commands and names exist, its links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import functools
import importlib.util
import io
import itertools
import linecache
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import pytest

import neuronkit
from neuronkit.cli.main import make_parser

pytestmark = pytest.mark.tooling

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOTEBOOKS = sorted(ROOT.glob("docs/**/*.ipynb"))
PYTHONS = ("python", "python3", ".venv/bin/python")
SHELLS = ("bash", "console")
DATA = ("text", "json", "toml", "yaml")

# Every code block that is not run or checked, by page. Each carries its reason: <!-- not run: the reason -->
NOT_RUN: dict[str, int] = {
    "README.md": 1,
    "docs/compiling.md": 1,
    "docs/huggingface.md": 1,
    "docs/integrations.md": 3,
    "docs/ray.md": 7,
    "docs/targets.md": 3,
    "docs/triton.md": 9,
}
_REASON = re.compile(r"<!-- not run: \S.{8,}-->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: Of its first line of text, counted from 1.
        language: What stands behind the fence.
        text: What stands between the fences.
        excluded: Whether a comment says why it is not run.
        output: Text block right below: what the code prints, "..." standing for anything. None without one.
    """

    line: int
    language: str
    text: str
    excluded: bool
    output: str | None = None


def parse(markdown: str) -> Iterator[Block]:
    """Fenced blocks, in order."""
    found: list[Block] = []
    end_of_last = -1
    lines = markdown.splitlines()
    position = 0
    while position < len(lines):
        fence = re.match(r"( *)(```+)([\w+-]*)", lines[position])
        if not fence:
            position += 1
            continue
        start, indent = position + 1, len(fence[1])
        while lines[(position := position + 1)].strip() != fence[2]:
            pass
        text = "\n".join(line[indent:] for line in lines[start:position]) + "\n"
        directly_below = all(not line.strip() for line in lines[end_of_last + 1 : start - 1])
        if fence[3] == "text" and found and directly_below:
            last = found.pop()
            found.append(Block(last.line, last.language, last.text, last.excluded, text))
        else:
            before = lines[start - 2].strip() if start > 1 else ""
            found.append(Block(start + 1, fence[3], text, bool(_REASON.fullmatch(before))))
        end_of_last = position
        position += 1
    yield from found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """What is to be run or checked."""
    found = parse(page.read_text(encoding="utf-8"))
    return [block for block in found if block.language in languages and not block.excluded]


def run_page(page: Path) -> None:
    """Run a page's Python, in order, in one namespace; a traceback shows the page's own line."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        source = "\n" * (block.line - 1) + block.text
        name = f"{page}:{block.line}"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name, "exec", dont_inherit=True), namespace)
        if block.output is not None:
            assert_printed(printed.getvalue(), block.output, name)


def assert_printed(got: str, wanted: str, name: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(wanted, got, flags), f"{name} printed\n{got}instead of\n{wanted}"


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    # In a process of its own: the kernel's client brings warnings and sockets of its own.
    code = (
        "import sys, nbformat, nbclient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "nbformat.validate(notebook)\n"
        "nbclient.NotebookClient(notebook, timeout=300, kernel_name='python3').execute()\n"
        "print(sum(len(cell.outputs) for cell in notebook.cells if cell.cell_type == 'code'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(notebook)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_notebooks_are_committed_without_outputs() -> None:
    # Outputs show what an earlier state of the code and the weights gave.
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        assert '"outputs": []' in text
        assert '"output_type"' not in text, f"{name_of(notebook)}: clear its outputs"
        assert not re.search(r'"execution_count": \d', text), f"{name_of(notebook)}: clear its outputs"


def test_blocks_that_are_not_run_are_counted() -> None:
    excluded = {name_of(page): sum(b.excluded for b in parse(page.read_text(encoding="utf-8"))) for page in PAGES}
    assert {page: count for page, count in excluded.items() if count} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_hides_behind_another_language(page: Path) -> None:
    languages = {block.language for block in parse(page.read_text(encoding="utf-8"))}
    assert languages <= {"python", *SHELLS, *DATA}


def commands(page: Path) -> Iterator[list[str]]:
    """The commands of a page's shell blocks, split into words; in a console block only lines with a prompt."""
    for block in blocks(page, *SHELLS):
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.language == "console":
                line = line.removeprefix("$ ") if line.startswith("$ ") else ""
            yield from split(line)


def split(line: str) -> Iterator[list[str]]:
    """Commands of one line, each as its words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    for separator, words in itertools.groupby(lexer, lambda word: set(word) <= set(";&|")):
        if not separator:
            yield list(words)


def check_command(words: list[str]) -> None:
    """Raise AssertionError unless the command can be what a reader types."""
    while re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
        words = words[1:]
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        for argument in arguments:
            assert "=" in argument or argument in targets, f"the Makefile has no target {argument}"
    elif program in PYTHONS and arguments[:1] == ["-m"] and arguments[1] != "pip":
        check_module(arguments[1], arguments[2:])
    elif program == "pip" or (program in PYTHONS and arguments[:2] == ["-m", "pip"]):
        check_pip(arguments if program == "pip" else arguments[2:])
    elif program == "neuronkit":
        make_parser().parse_args(arguments)
    else:
        assert program in ("cd", "git"), f"{program}: a command that this test cannot check"


def check_module(module: str, arguments: list[str]) -> None:
    if module in ("build", "pytest", "venv"):
        return
    assert importlib.util.find_spec(module) is not None, f"no module {module}"
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    for option in options:
        assert option in help_of(module), f"{module} takes no {option}"


@functools.cache
def help_of(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def check_pip(arguments: list[str]) -> None:
    from packaging.requirements import Requirement

    action, *rest = arguments
    assert action in ("install", "uninstall"), f"pip {action}"
    for argument in rest:
        if argument.startswith("-"):
            option = argument.partition("=")[0]
            assert option in ("-e", "-y", "-r", "--extra-index-url", "--no-deps", "--upgrade"), f"pip {option}"
        elif argument.startswith("requirements/"):
            assert (ROOT / argument).exists(), f"no {argument}"
        else:
            requirement = Requirement(re.sub(r"^\.(?=\[|$)", "neuronkit", argument))
            if requirement.name == "neuronkit":
                check_extras(requirement.extras)


def check_extras(names: set[str]) -> None:
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    missing = [name for name in names if not re.search(rf"^{name} = ", table, re.MULTILINE)]
    assert not missing, f"no extra {missing}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, *SHELLS)], ids=name_of)
def test_commands_exist(page: Path) -> None:
    for words in commands(page):
        check_command(words)


def test_a_line_is_split_into_its_commands() -> None:
    line = "A=1 make test && pip install '.[x;y]' ; git clone u  # and; more"
    assert list(split(line)) == [["A=1", "make", "test"], ["pip", "install", ".[x;y]"], ["git", "clone", "u"]]
    assert list(split("# nothing")) == []


COMMANDS_WITH_OUTPUT = [(page, block) for page in PAGES for block in blocks(page, *SHELLS) if block.output]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), COMMANDS_WITH_OUTPUT, ids=lambda p: name_of(p) if p in PAGES else p.line)
def test_commands_with_output_give_it(page: Path, block: Block, tmp_path: Path) -> None:
    (words,) = split(block.text.strip())
    assert words[0] in PYTHONS
    # A reader stands in the clone, where tools/ is.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_printed(done.stdout, block.output or "", f"{page}:{block.line}")


@pytest.mark.parametrize(
    "command",
    [
        "make nonsense",
        "python -m neuronkit.nonsense",
        "python -m tools.demo.evaluate --nonsense 3",
        "pip install 'neuronkit[nonsense]'",
        "pip install -e '.[nonsense]'",
        "pip install -r requirements/nonsense.txt",
        "pip install torch==",
        "pip download torch",
        "wget x",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    with pytest.raises(Exception, match=r"nonsense|torch|download|wget"):
        check_command(shlex.split(command))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    return [target for target in targets if not re.match(r"https?:|mailto:", target) and not leads(page, target)]


def leads(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    other = (page.parent / path).resolve() if path else page
    return other.exists() and (not anchor or anchor in anchors(other))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_exist(page: Path) -> None:
    """Whatever is written as `neuronkit.something` can be imported."""
    names = set(re.findall(r"`(neuronkit(?:\.\w+)+)", prose(page)))
    missing = []
    for name in sorted(names):
        try:
            resolve_name(name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_are_short(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [f"{name_of(page)}:{i}" for i, line in enumerate(lines, 1) if len(line) > 120] == []


def test_every_public_name_is_documented() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")
    names = [name for name in neuronkit.__all__ if not name.startswith("_")]
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", pages)] == []


def test_every_page_is_reachable_from_the_readme() -> None:
    seen: set[Path] = set()
    pending = {ROOT / "README.md"}
    while pending:
        page = pending.pop()
        seen.add(page)
        if page.suffix == ".md" and page.exists():
            links = re.findall(r"\]\(([^)#:\s]+)", prose(page))
            pending |= {(page.parent / link).resolve() for link in links} - seen
    assert sorted(map(name_of, {*PAGES, *NOTEBOOKS} - seen)) == []


BAD_PAGE = """# A title

[gone](nowhere.md) and [no such part](#nothing) and [fine](#a-title)

```python
x = 2
print(x, "words")
```

```text
2 ...
```

<!-- not run: needs a Neuron SDK -->
```python
1 / 0
```

```python
raise KeyError(x)
```
"""


def test_what_is_wrong_with_a_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BAD_PAGE, encoding="utf-8")
    assert broken_links(page) == ["nowhere.md", "#nothing"]
    found = list(parse(BAD_PAGE))
    assert [(b.line, b.excluded, b.output) for b in found] == [
        (6, False, "2 ...\n"),
        (16, True, None),
        (20, False, None),
    ]
    with pytest.raises(KeyError, match="2"):
        run_page(page)
    page.write_text(BAD_PAGE.replace("2 ...", "3 ..."), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"printed\s+2 words\s+instead of\s+3"):
        run_page(page)
