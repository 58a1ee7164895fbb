"""HTML as a tree of elements.

Nothing is ever put together from strings of markup: text is a child or an attribute of an element, and `written`, the
only place where markup is made, escapes it. So no text of a configuration can become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from xml.etree import ElementTree

Element = ElementTree.Element
Content = str | Element

_VOID = {"meta", "br"}  # elements that are never closed, of those in use
_RAW = {"style"}  # text of ours that is no markup to a browser

_LONG = 60  # letters of a cell

_UNWRITABLE = re.compile("[^\t\n\r\u0020-\u202c\u202f-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(tag: str, *content: Content | Iterable[Content], **attributes: str) -> Element:
    """Return an element with this content; an attribute that is a word of Python's has a stroke behind it.

    Characters that no page may hold, and those that turn the order of letters round, are shown as U+FFFD.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): clean(value) for name, value in attributes.items()})
    for each in content:
        for item in (each,) if isinstance(each, str | Element) else each:
            _append(made, item)
    return made


def clean(text: str) -> str:
    """Return text without characters that no page may hold, nor those that turn letters round (U+202D, U+202E)."""
    return _UNWRITABLE.sub("�", text)


def table(
    caption: str, head: Sequence[Content], rows: Iterable[Sequence[Content]], *, numeric: Iterable[int] = ()
) -> Element:
    """Return a table in a box of its own that scrolls sideways; ``numeric`` are columns set to the right.

    Columns of long text are as wide as it takes to read them, also where the page is narrow.
    """
    made = [tuple(row) for row in rows]
    kinds = dict.fromkeys(numeric, "n") | {
        i: "long" for row in made for i, content in enumerate(row) if len(_text(content)) > _LONG
    }

    def cells(tag: str, row: Sequence[Content]) -> Element:
        scope = {"scope": "col"} if tag == "th" else {}
        kind = [{"class_": kinds[i]} if i in kinds else {} for i in range(len(row))]
        return element("tr", [element(tag, content, **kind[i], **scope) for i, content in enumerate(row)])

    grid = element("table", element("caption", caption), element("thead", cells("th", head)))
    grid.append(element("tbody", [cells("td", row) for row in made]))
    return element("div", grid, class_="table", tabindex="0", role="region", aria_label=caption)


def definitions(pairs: Iterable[tuple[str, Content]]) -> Element:
    """Return a list of terms and what is said of each."""
    return element("dl", [item for term, said in pairs for item in (element("dt", term), element("dd", said))])


def bullets(items: Iterable[Content | Sequence[Content]]) -> Element:
    """Return a list."""
    return element("ul", [element("li", item) for item in items])


def written(root: Element) -> str:
    """Return a page as text: HTML whose pictures are XML too."""
    parts: list[str] = ["<!DOCTYPE html>\n"]
    _write(root, parts)
    return "".join(parts) + "\n"


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "".join(content.itertext())


def _write(node: Element, parts: list[str]) -> None:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in node.attrib.items())
    parts.append(f"<{node.tag}{attributes}>")
    if node.tag not in _VOID:
        text = node.text or ""
        parts.append(text if node.tag in _RAW else escape(text))
        for child in node:
            _write(child, parts)
            parts.append(escape(child.tail or ""))
        parts.append(f"</{node.tag}>")


def _append(made: Element, item: Content) -> None:
    if isinstance(item, Element):
        made.append(item)
    elif len(made):
        made[-1].tail = (made[-1].tail or "") + clean(item)
    else:
        made.text = (made.text or "") + clean(item)
