"""What pytest's reporter shows of ours: the style of the summary."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # tables are loaded when there is something to print
    from ..report.text import Style


def style_of(reporter: Any) -> "Style":
    """How the summary is to be printed here: width, colours and signs as pytest's own writer has them."""
    from ..report.text import ASCII, UNICODE, Style

    writer = reporter._tw
    encoding = getattr(writer._file, "encoding", None) or "ascii"
    colours = {"best": {"green": True}, "bad": {"red": True}, "dim": {"light": True}}

    def paint(text: str, meaning: str) -> str:
        return str(writer.markup(text, **colours[meaning]))

    return Style(UNICODE if UNICODE.fit(encoding) else ASCII, writer.fullwidth, reporter.verbosity, paint)
