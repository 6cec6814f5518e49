"""Reading a completion: which of its lines open a field, and what the value of each output is.

A line opens a field where it holds the field's name and a colon, however a model may dress it up. Every form reads by
these rules. Reading takes time in proportion to the length of the text: the quantifiers are possessive, so that no run
of blanks, brackets or colons is tried twice.
"""

import re
from functools import lru_cache

from .program import Signature
from .prompt import Unparsable

_LABEL = re.compile(
    r"[*_#`> \t-]*+(?:the )?(?:final |correct )?(?:answer|output|result|response)(?: is)?[*_`]*+[ \t]*+:[*_`]*+\s*+",
    re.IGNORECASE,
)
"""What models write in place of an output's own name."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_DRAFT, _END_OF_DRAFT = "<think>", "</think>"


def read(signature: Signature, completion: str, begun: bool = False) -> dict[str, str]:
    """The outputs in a completion, stripped of outer white space; a missing optional output is "".

    Forgiving about what models do: headers in another case, with spaces for underscores or in Markdown bold; a draft
    in `<think>` before the answer, which does not count; text before the first header, which is the first output's;
    "Final answer:" in place of the last output's name; saying a field twice, of which the first that is not empty
    counts. From the header of an input on, the model has begun another example, and nothing of that counts.

    Args:
        signature: The predictor's signature.
        completion: What the model wrote. Half a surrogate pair, which no engine can be sent, is read as U+FFFD.
        begun: The prompt ended with the first output's name, so that the completion begins with its value.

    Raises:
        Unparsable: Required outputs are missing; the text names them.
    """
    pattern = headers(signature)
    outputs = [field.name for field in signature.outputs]
    first, last = outputs[0], outputs[-1]
    opening: list[str] = []
    values: dict[str, list[str]] = {}
    current = opening
    for line in lines(_without_draft(pattern, _LONE_SURROGATE.sub("\ufffd", completion))):
        header = pattern.match(line)
        if header is None:
            current.append(line[1:] if is_escaped(pattern, line) else line)
            continue
        name = _field_of(signature, header)
        if name not in outputs:
            break
        said = values.get(name, [])
        if begun and name == first:
            said = [*opening, *said]
        current = [_after(header, line)]
        if _is_blank(said):
            values[name] = current
    headless = first not in values and not _is_blank(opening)
    if headless:
        values[first] = opening
    missing = [field.name for field in signature.outputs if field.required and field.name not in values]
    if missing == [last] and any(current is value for value in values.values()):
        values[last] = _cut_at_label(current)
        missing = [] if values[last] else missing
    if missing:
        raise Unparsable(f"the completion has no {' and no '.join(missing)}: {completion[:80]!r}")
    found = {name: "\n".join(value).strip() for name, value in values.items()}
    if headless and first == last:
        label = _LABEL.match(found[first])
        found[first] = found[first][label.end() :] if label else found[first]
    return {name: found.get(name, "") for name in outputs}


def lines(text: str) -> list[str]:
    """The lines of a text without its outer white space, by any kind of line break that a keyboard makes."""
    return text.strip().replace("\r\n", "\n").replace("\r", "\n").split("\n")


@lru_cache(maxsize=256)
def headers(signature: Signature) -> re.Pattern[str]:
    """Matches the beginning of a line that opens a field; the group that matched is the field's place."""
    fields = list(enumerate((*signature.inputs, *signature.outputs)))
    fields.sort(key=lambda placed: len(placed[1].name), reverse=True)
    groups = []
    for place, field in fields:
        written = "[ _]?".join(map(re.escape, field.name.split("_")))
        groups.append(f"(?P<field{place}>{written})")
    return re.compile(
        rf"[ \t]*+(?P<open>[*_`#>-]*+)[ \t]*+(?:{'|'.join(groups)})[*_`]*+[ \t]*+:",
        re.IGNORECASE,
    )


def is_escaped(pattern: re.Pattern[str], line: str) -> bool:
    """Whether a line is backslashes and then a header; any other backslash is the value's own (LaTeX)."""
    return line.startswith("\\") and pattern.match(line.lstrip("\\")) is not None


def _field_of(signature: Signature, header: re.Match[str]) -> str:
    """The name of the field that a header opens.

    It is told by the group that matched and not by the letters, since more letters match than lower case maps onto:
    the dotted capital of "İsim" matches the i of a field `isim`.
    """
    place = int((header.lastgroup or "").removeprefix("field"))
    return (*signature.inputs, *signature.outputs)[place].name


def _after(header: re.Match[str], line: str) -> str:
    """The value's first line; a bold header may close its bold behind the colon (`**answer:** 42`)."""
    value, opened = line[header.end() :], header["open"].strip("#>-")
    return value.lstrip()[len(opened) :] if opened and value.lstrip().startswith(opened) else value


def _without_draft(pattern: re.Pattern[str], text: str) -> str:
    """The text behind a reasoning model's draft; nothing is left where the draft never ended.

    Some chat templates open the draft themselves, so that a completion only ends it. A text that opens with a header
    is no draft: what follows is a value, which may well be about these signs.
    """
    opens = text.lstrip().startswith(_DRAFT)
    if not opens and (_END_OF_DRAFT not in text or pattern.match(lines(text)[0])):
        return text
    return text.partition(_END_OF_DRAFT)[2]


def _cut_at_label(section: list[str]) -> list[str]:
    """What stands behind the last label in the section's lines, taken out of it; empty if there is no label."""
    for place in reversed(range(len(section))):
        label = _LABEL.match(section[place])
        if label:
            labelled = [section[place][label.end() :], *section[place + 1 :]]
            del section[place:]
            return labelled
    return []


def _is_blank(section: list[str]) -> bool:
    return not any(line.strip() for line in section)
