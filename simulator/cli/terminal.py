"""What commands print: every character is shown, none is obeyed, but for the styles of our own tables and bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from simulator.text import visible


class _Shown:
    """A stream in which control characters are written out (`text.visible`)."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        return self.raw.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def shown() -> Iterator[None]:
    """Write out control characters of whatever is printed while the context lasts."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Shown(raw_of(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw_of(stream: TextIO) -> TextIO:
    """Return the stream itself, for what moves the cursor or has styles; its text must be `visible` already."""
    return stream.raw if isinstance(stream, _Shown) else stream
