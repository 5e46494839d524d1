"""Reading a YAML file in which nothing means something else than it seems to.

Where a key stands twice YAML takes the last one, 010 for 8 and 1:30 for 90, all without a word.
"""

from __future__ import annotations

import re
from typing import Any

from sjft.errors import InputError

# How YAML 1.1 reads integers in eights, and integers and fractions in sixties.
_SURPRISES = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


def read_yaml(path: str) -> Any:
    """Return the content of the YAML file `path`.

    Raises InputError, with the line where there is one, if it cannot be read, is not valid, has a
    key twice, or a number that YAML would take for another.
    """
    try:
        import yaml  # only this command needs it
    except ImportError:
        raise InputError("reading experiments needs PyYAML: install the Python package") from None

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise InputError(f"{path}, line {line}: a key is no word: expected one like 'name'")
            if key in lines:
                raise InputError(
                    f"{path}, line {line}: the key {key!r} stands twice, the first time in line "
                    f"{lines[key]}: expected it once"
                )
            lines[key] = line
        loader.flatten_mapping(node)
        return dict(loader.construct_mapping(node, deep=True))

    def number(loader: Any, node: Any) -> Any:
        kind = node.tag.rpartition(":")[2]
        value = getattr(loader, f"construct_yaml_{kind}")(node)
        if _SURPRISES.fullmatch(node.value):
            raise InputError(
                f"{path}, line {node.start_mark.line + 1}: YAML takes {node.value} for {value}: "
                f"expected a number in plain digits, or a text in quotes"
            )
        return value

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", number)
    try:
        with open(path, encoding="utf-8") as stream:
            return yaml.load(stream, Loader)
    except OSError as error:
        raise InputError(f"the experiment {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"the experiment {path} is not valid YAML: {problem}") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the experiment {path} holds a value that is none: {error}") from None
