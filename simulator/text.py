"""Text made safe for where it is shown: terminals obey control characters, and spreadsheets obey formulas.

Names, labels and citations come from files and command lines. Whatever is printed goes through `visible`, whatever is
written as CSV through `csv_text`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but for tab and newline, and those that change the direction of text."""
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def visible(text: str) -> str:
    r"""Return text with control characters written out (``\x1b``), so that a terminal shows them and obeys none."""
    return _OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def cell(text: str) -> str:
    """Return text that a spreadsheet shows: what begins like a formula and is no number begins with an apostrophe."""
    if not text.startswith(_FORMULA):
        return visible(text)
    try:
        float(text)
    except ValueError:
        return "'" + visible(text)
    return text


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV file; numbers are written as they are, text as `cell` gives it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow([cell(each) if isinstance(each, str) else each for each in row])
    return out.getvalue()
