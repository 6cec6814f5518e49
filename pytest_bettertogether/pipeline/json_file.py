"""JSON files that anybody may have written, read within bounds: size, depth, encoding."""

import json
from pathlib import Path
from typing import Any

MAX_BYTES = 256 << 20
"""Of a file. Reports of a thousand cells with all their traces have a fifth of it."""
MAX_DEPTH = 64
"""Lists and objects inside each other. What this package writes has fewer than twenty; code that walks what was read
may go one call deeper for each."""


class JsonFileError(ValueError):
    """A file that holds no JSON within the bounds; its text is a clause such as "it is no text in UTF-8"."""


def read_json(path: Path) -> Any:
    """The value that a file holds.

    Raises:
        JsonFileError: It is too large, not UTF-8, no JSON, or too deep.
        OSError: It cannot be read; FileNotFoundError where there is none.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise JsonFileError(f"it has more than {MAX_BYTES >> 20} MiB")
    return parse_json(data)


def parse_json(text: str | bytes) -> Any:
    """The value of a text. Raises JsonFileError as `read_json` does."""
    try:
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise JsonFileError(f"it is no text in UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise JsonFileError(f"it is no JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except RecursionError:
        raise JsonFileError(_too_deep()) from None
    except ValueError:  # Python's own bound on the digits of an int
        raise JsonFileError("a number in it has thousands of digits") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise JsonFileError(_too_deep())


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _too_deep() -> str:
    return f"more than {MAX_DEPTH} lists or objects stand inside each other"
