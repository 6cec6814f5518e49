"""Which libraries an optional feature needs beyond those that are always installed."""

from importlib.util import find_spec

HTML = ("jinja2", "vl_convert")
INSTALL = "pip install 'pytest-bettertogether[html]'"


def missing(kind: str) -> str:
    """What has to be installed before a report of this kind can be made; empty if nothing."""
    absent = [name for name in HTML if kind == "html" and find_spec(name) is None]
    return f"HTML reports need {' and '.join(absent)}: {INSTALL}" if absent else ""
