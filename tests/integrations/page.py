"""The code of docs/integrations.md, which needs the peers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"


def run_block(title: str, **names: Any) -> dict[str, Any]:
    """Run the code of a section, and give what it defines beside `names`."""
    (code,) = re.findall(
        rf"^## {title}$.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    exec(code, names)
    return names
