"""Hooks of the site (mkdocs.yml): the pages outside `docs/`, the files that pages link to, and the reference.

The reference has one page for each module of `tests/public_api.txt`, so that no public name can be missing.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
INVENTORY = ROOT / "tests" / "public_api.txt"
# Pages of the repository's root, by their place on the site.
ROOT_PAGES = {
    "README.md": "project/overview.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference's pages into the navigation."""
    (reference,) = [part["Reference"] for part in config.nav or () if "Reference" in part]
    reference += [{module: f"reference/{module}.md"} for module in inventory()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, the files that pages link to, and the reference."""
    for name, place in ROOT_PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    pages = {file.src_uri: Path(str(file.abs_src_path)) for file in files.documentation_pages()}
    linked = [_linked(path.read_text(encoding="utf-8"), place) for place, path in pages.items() if path.suffix == ".md"]
    for source in sorted(set().union(*linked)):
        files.append(File.generated(config, f"files/{source}", abs_src_path=str(ROOT / source)))
    for module, names in inventory().items():
        files.append(File.generated(config, f"reference/{module}.md", content=_reference(module, names)))
    named = {module: ", ".join(f"`{name}`" for name in names) for module, names in inventory().items()}
    modules = "\n".join(f"- [{module}]({module}.md): {names}" for module, names in named.items())
    files.append(File.generated(config, "reference/index.md", content=f"# Reference\n\nBy module.\n\n{modules}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the repository, as links between pages of the site."""
    here = page.file.src_uri
    return _LINK.sub(lambda found: posixpath.relpath(_place(found[1], here), posixpath.dirname(here) or "."), markdown)


def inventory() -> dict[str, list[str]]:
    """The public names by module; a name that two modules give stands where it is listed first."""
    found: dict[str, list[str]] = {}
    for line in INVENTORY.read_text(encoding="utf-8").splitlines():
        name = re.match(r"(?:class )?(neuronkit[\w.]*)\.(\w+)[(:]", line)
        if name:
            found.setdefault(name[1], []).append(name[2])
    return found


def _reference(module: str, names: list[str]) -> str:
    return f"# {module}\n\n" + "\n".join(f"::: {module}.{name}\n" for name in names)


def _source(link: str, here: str) -> str:
    """The path in the repository of what a page links to."""
    origin = next((name for name, place in ROOT_PAGES.items() if place == here), f"docs/{here}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _place(link: str, here: str) -> str:
    """Where on the site it stands."""
    source = _source(link, here)
    if source in ROOT_PAGES:
        return ROOT_PAGES[source]
    return source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}"


def _linked(text: str, here: str) -> set[str]:
    """Files of the repository that are no page: scripts, pictures, settings."""
    prose = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    sources: set[Any] = {_source(link, here) for link in _LINK.findall(prose)}
    return {s for s in sources if s not in ROOT_PAGES and not s.startswith("docs/") and (ROOT / s).is_file()}
