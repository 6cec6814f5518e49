"""What an optional feature needs beyond the libraries that are always installed, in one sentence."""

from importlib.util import find_spec

HTML = ("jinja2", "vl_convert")


def missing(feature: str, extra: str, *modules: str) -> str:
    """What has to be installed before a feature can be used.

    Args:
        feature: The beginning of the sentence, up to the modules: "HTML reports need".
        extra: The extra of this package that brings the modules.
        modules: Names as they are imported.

    Returns:
        One sentence with the command that installs them; empty if nothing is missing.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if not absent:
        return ""
    return f"{feature} {' and '.join(absent)}, not installed here: pip install 'pytest-bettertogether[{extra}]'"


def missing_for_report(kind: str) -> str:
    """The same for a report of this kind."""
    return missing("HTML reports need", "html", *HTML) if kind == "html" else ""
