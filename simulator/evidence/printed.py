"""Figures in printed text, as journals and reports write them.

A text is read in every way that it allows: ``1,234`` is a thousand and a decimal comma. Whoever knows the value takes
the figures that are equal to it.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MID_DOTS = "\u00b7\u2219\u22c5"
"""Middle dot, bullet operator, dot operator: the decimal points of British journals."""
SPACES = "\u0020\u00a0\u2009\u202f\u2008\u2007\u2005\u2006"
"""Space, and no-break, thin, narrow no-break, punctuation, figure and other fixed spaces."""
MINUS = "-\u2212\u2013"
"""Hyphen, minus sign, en dash; one of them is a sign only where no range can be meant."""

_POINTS = f".,{MID_DOTS}"
_THOUSANDS = f".,'\u2019{SPACES}"
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺\u2212\u2013", "0123456789-+--")
_SIMPLE = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_EXPONENT = (
    r"\^\s*[({]?\s*(?P<hat>[-+\u2212\u2013]?\d{1,4})[)}]?|[({](?P<bracket>[-+\u2212\u2013]?\d{1,4})[)}]"
    r"|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})|(?P<plain>[-\u2212\u2013]?\d{1,4})"
)
_TOKEN = re.compile(
    rf"(?<![\w/])(?:"
    rf"(?:(?P<whole>\d{{1,9}})(?:\s|-))?(?P<over>\d{{1,9}})[/\u2044](?P<under>\d{{1,9}})(?![\d/])"
    rf"|(?P<mixed>\d{{1,9}})?[{SPACES}]?(?P<simple>[{_SIMPLE}])"
    rf"|(?P<number>(?:\d+|[.{MID_DOTS}]\d+)(?:[{_POINTS}'\u2019](?!10(?:\^|[⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹]))\d+|[{SPACES}]\d{{3}}(?!\d))*)"
    rf"(?:\s*[x×*{MID_DOTS}]\s*10(?:{_EXPONENT})|[eE](?P<e>[-+]?\d{{1,4}})(?!\w))?"
    rf")"
)
_UNITS = (
    ("%", r"%|per\s?cent|Prozent|pour\s?cent"),
    ("d", r"days?\b|d\b|Tagen?\b|Tage\b"),
    ("wk", r"weeks?\b|wks?\b|Wochen?\b"),
    ("mo", r"months?\b|mos?\b|Monaten?\b|Monate?\b|mois\b"),
    ("y", r"years?\b|yrs?\b|y\b|Jahren?\b|Jahre?\b"),
    ("patients", r"(?:of\s+\d+\s+)?(?:patients?|pts?|Patienten|cases|deaths)\b"),
)
_UNIT = re.compile(
    rf"[{SPACES}\n-]*(?:" + "|".join(f"(?P<u{i}>{words})" for i, (_, words) in enumerate(_UNITS)) + ")", re.I
)
_LEVEL = re.compile(
    rf"[{SPACES}]*%?[{SPACES}-]*(?:C\.?I\b|C\.I\.|K\.?I\b|IC\b|HDI\b|CrI\b|confidence|credib|Konfidenz|Vertrauens)"
)
_LEVEL_BEFORE = re.compile(rf"(?:\bCI|\bCrI|\bKI|interval)[{SPACES}]*[(:,]?[{SPACES}]*$")
_LEVEL_ENDS = re.compile(rf"[{SPACES}]*%[{SPACES}]*[:;,)]")
_LARGEST_PART = 10
"""Denominator of a fraction that stands for a number; with a larger one it is a count of patients."""
_LEVELS = (80.0, 90.0, 95.0, 98.0, 99.0)
_CONNECTOR = re.compile(rf"(?:[{SPACES}]*[-\u2010\u2011\u2012\u2013\u2014][{SPACES}]*|\s+(?:to|through|bis)\s+)$")
_SIGN_BEFORE = re.compile(rf"(?:^|[\s(\[=<>≤≥,;:])[{MINUS}]$")


@dataclass(frozen=True)
class Figure:
    """One way to read one figure of a text."""

    value: float
    decimals: int  # negative for powers of ten
    unit: str | None = None  # what stands after it: `%`, d, wk, mo, y, patients; of a range, after its second end
    in_range: bool = False  # one of two ends, as in "7.4 to 11"
    signed: bool = False
    fraction: bool = False  # of small whole numbers, which few decimals print

    def prints(self, value: float) -> bool:
        """Whether the figure is this value; a fraction may be written with two decimals."""
        return abs(self.value - value) <= (0.005 if self.fraction else 1e-12 * abs(value))


@dataclass
class _Token:
    begin: int
    end: int
    readings: list[tuple[float, int, bool]]
    unit: str | None = None
    in_range: bool = False
    signed: bool = False


@functools.lru_cache(maxsize=1024)
def figures(text: str) -> tuple[Figure, ...]:
    """Return the figures of a text, each in every way that it can be read, in order.

    The level of an interval (``95% CI``) is none of them.
    """
    tokens = _tokens(text)
    for token in tokens:
        token.unit = _unit_after(text, token.end)
    for before, after in itertools.pairwise(tokens):
        between = text[before.end : after.begin]
        if before.unit and (met := _UNIT.match(between)):
            between = between[met.end() :]
        if after.signed:
            between = between[:-1]
        between_words = re.search(r"\bbetween\s+$", text[: before.begin], re.I) and re.fullmatch(r"\s+and\s+", between)
        if (_CONNECTOR.match(between) or between_words) and not _is_difference(text, after.end):
            before.in_range = after.in_range = True
            before.unit = before.unit or after.unit
    return tuple(
        Figure(-value if token.signed else value, decimals, token.unit, token.in_range, token.signed, fraction)
        for token in tokens
        for value, decimals, fraction in token.readings
    )


def has_percent(text: str) -> bool:
    """Whether a text has a percent sign, or says per cent."""
    return re.search(_UNITS[0][1], text, re.I) is not None


def _is_difference(text: str, end: int) -> bool:
    return re.match(r"\s*=", text[end:]) is not None


def _tokens(text: str) -> list[_Token]:
    made: list[_Token] = []
    level_seen = False
    for match in _TOKEN.finditer(text):
        readings, begin, end = list(_readings(match)), match.start(), match.end()
        if not readings:
            continue
        before, after = text[:begin], text[end:]
        value = readings[0][0]
        named_before = value in _LEVELS and _LEVEL_BEFORE.search(before) and _LEVEL_ENDS.match(after)
        if _LEVEL.match(after) or (named_before and not level_seen):
            level_seen = True
            continue
        made.append(_Token(begin, end, readings, signed=_SIGN_BEFORE.search(before) is not None))
    return made


def _unit_after(text: str, end: int) -> str | None:
    met = _UNIT.match(text, end)
    return None if met is None else _UNITS[int(str(met.lastgroup)[1:])][0]


def _readings(match: re.Match[str]) -> Iterator[tuple[float, int, bool]]:
    """Yield value, decimals, and whether it is a fraction, of each way to read a token."""
    if match["under"]:
        whole, over, under = (int(match[name] or 0) for name in ("whole", "over", "under"))
        if over < under <= _LARGEST_PART:
            yield whole + over / under, 0, True
        if not match["whole"]:
            yield from ((over, 0, False), (under, 0, False))  # 21/60: a count of patients
        return
    if match["simple"]:
        yield int(match["mixed"] or 0) + unicodedata.numeric(match["simple"]), 0, True
        return
    raised = match["hat"] or match["bracket"] or match["raised"] or match["plain"] or match["e"]
    power = int(raised.translate(_RAISED)) if raised else 0
    for written in _numbers(match["number"]):
        yield float(f"{written}e{power}"), len(written.partition(".")[2]) - power, False


def _numbers(text: str) -> Iterator[str]:
    """Yield each way to read digits with marks between them, as digits with a decimal point."""
    parts = re.split(rf"[{_POINTS}'\u2019{SPACES}]", text)
    marks = re.sub(r"\d", "", text)
    if not marks:
        yield text
        return
    if len(marks) == 1 and marks in _POINTS:
        yield f"{parts[0] or '0'}.{parts[1]}"
    grouped = _grouped(parts, marks)
    if grouped is not None:
        yield grouped
    if len(marks) > 1 and _grouped(parts[:-1], marks[:-1]) and marks[-1] in _POINTS and marks[-1] != marks[0]:
        yield f"{''.join(parts[:-1])}.{parts[-1]}"
    elif grouped is None and set(marks) <= {","} and len(marks) > 1:
        yield from parts  # a list without spaces
    if " " in marks:  # which may as well part two figures
        for piece in text.split(" "):
            yield from _numbers(piece)


def _grouped(parts: list[str], marks: str) -> str | None:
    """Return digits in groups of three after one mark of thousands; None where they are not."""
    one_mark = len(set(marks)) == 1 and marks[0] in _THOUSANDS
    groups = 1 <= len(parts[0]) <= 3 and not parts[0].startswith("0") and all(len(each) == 3 for each in parts[1:])
    return "".join(parts) if one_mark and groups else None
