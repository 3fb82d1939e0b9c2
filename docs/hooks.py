"""Hooks of the documentation's site: what lies outside docs/ is linked on the forge, where GitHub links it beside."""

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """`../pipelines/settings.py` becomes its address in the repository."""
    here = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent

    def address(match: re.Match[str]) -> str:
        parts: list[str] = []
        for part in (here / match[2]).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        if parts[:1] == ["docs"]:
            return match[0]
        return f"{match[1]}{config['repo_url'].rstrip('/')}/blob/main/{'/'.join(parts)}"

    return LINK.sub(address, markdown)
