"""Reading a page of ours: its elements, as the parser of HTML sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "br", "hr", "img", "input", "link", "base", "source", "embed"}


@dataclass
class Node:
    """An element: its name, attributes, children and own text."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text within."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, *tags: str, **attributes: str) -> Iterator[Node]:
        """Yield the elements within that have one of these names (all if none is given) and these attributes."""
        for child in self.children:
            if isinstance(child, Node):
                wanted = {name.rstrip("_"): value for name, value in attributes.items()}
                if (not tags or child.tag in tags) and wanted.items() <= child.attributes.items():
                    yield child
                yield from child.all(*tags, **attributes)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Node:
    """Return the page as a tree; every element that is opened must be closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def pictures(page: str) -> list[ElementTree.Element]:
    """Return every SVG of a page, read as XML."""
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg\b.*?</svg>", page, re.DOTALL)]
