"""Files in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sjft_tools.atomic import tidy, write_file


def read_json(path: str | Path) -> Any:
    """Return the content of a file. Raises OSError, or ValueError if it is not JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_json(path: str, content: Any, force: bool, left: Sequence[str] = ()) -> bool:
    """Write `content`, JSON values, unless the file is `left`; return whether it had to be written.

    `left`: outputs that a killed run may have written. Raises InputError if the file exists and
    `force` is not set, one that is `left` included if it holds anything else.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    # in JSON a backslash and "udcff" is what it is in Python: a byte of a path that is not UTF-8
    encoded = text.encode("utf-8", "backslashreplace")
    if path in left and Path(path).read_bytes() == encoded:
        tidy(path)
        return False
    write_file(path, encoded, force)
    return True
