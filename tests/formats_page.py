"""docs/formats.md: its sections, and the keys that their tables name."""

from __future__ import annotations

import re

from conftest import REPO

PAGE = (REPO / "docs" / "formats.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def keys_in_tables(title: str) -> set[str]:
    rows = re.findall(r"^\| (`[^|]*) \|", section(title), re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(rows)))
