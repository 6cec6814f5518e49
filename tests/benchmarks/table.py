"""The performance table of docs/speed.md, made from the results file; losses stand in it like wins."""

from pathlib import Path

from .measure import Figure, Report, shown

BEGIN, END = "<!-- benchmark: begin (tox -e bench -- --docs) -->", "<!-- benchmark: end -->"


def table(report: Report) -> str:
    """The results as Markdown."""
    versions = ", ".join(f"{name} {each}" for name, each in dict(report.machine["versions"]).items())  # type: ignore[call-overload]
    rows = ["| | measured | ours | peer | ratio | required |", "|---|---|---:|---:|---:|---|"]
    rows += [_row(each) for each in report.figures]
    rows += [
        f"| {each['line']} | {_cell(each['what'])} | – | – | – | not measured: {_cell(each['why'])} |"
        for each in report.skipped
    ]
    about = (
        f"{report.machine['date']}, {report.machine['cpu']}, {report.machine['cores']} cores, load "
        f"{report.machine['load']:.1f} before; {versions}. sizes {report.machine['sizes']}. "
        "Medians [smallest, largest]; a ratio above 1: we are better."
    )
    notes = [f"- ({each.line}) {each.what}: {'; '.join(each.notes)}" for each in report.figures if each.notes]
    return "\n".join([*rows, "", about, "", *map(_cell, notes)])


def _row(figure: Figure) -> str:
    peer = f"{figure.peer}: {shown(figure.theirs, figure.unit)}" if figure.theirs else "–"
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else "–"
    required = f"{figure.required}: {'met' if figure.met else '**missed**'}" if figure.required else "–"
    cells = (figure.line, figure.what, shown(figure.ours, figure.unit), peer, ratio, required)
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def put(report: Report, page: Path) -> None:
    """Write the table between its markers. Raises ValueError where they are missing."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: the markers {BEGIN!r} and {END!r} are missing")
    page.write_text(f"{before}{BEGIN}\n{table(report)}\n{END}{after}", encoding="utf-8")
