"""What is answered where there is no page; light, because the ingress loads no models and no torch."""

from __future__ import annotations

import json


def error_json(message: str) -> str:
    """The body of an answer that is no page."""
    return json.dumps({"error": message}, ensure_ascii=False)
