"""How Sphinx builds the site: `make docs`. Pages with code cells are executed, each in an empty folder of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

sys.path.insert(0, str(Path(__file__).parent))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `python` of shell cells

import schema_keys

import simulator

project = "Lobule"
author = "The Lobule authors"
copyright = author
version = release = simulator.__version__

extensions = ["myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Lobule {release}"
html_show_copyright = False
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
pygments_style = "tango"

_kernel = tempfile.TemporaryDirectory()
_startup = Path(_kernel.name, "profile_default", "startup")
_startup.mkdir(parents=True)
shutil.copy(Path(__file__).with_name("kernel_startup.py"), _startup)
os.environ["IPYTHONDIR"] = _kernel.name

LANGUAGES = {".yaml": "yaml", ".py": "python"}


def insert_keys(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what is made of the schema into its pages."""
    source[0] = schema_keys.filled(source[0])


class PlainCells(SphinxPostTransform):
    """Shows a shell cell as shell and a written file under its name, without the notebook's magic."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        """Change the blocks of one page."""
        for block in list(self.document.findall(nodes.literal_block)):
            first, _, rest = block.astext().partition("\n")
            if first == "%%bash":
                caption, block["language"] = "in a terminal", "bash"
            elif first.startswith("%%writefile "):
                caption = first.removeprefix("%%writefile ").strip()
                block["language"] = LANGUAGES.get(Path(caption).suffix, "text")
            else:
                continue
            block.parent.insert(block.parent.index(block), nodes.paragraph("", "", nodes.literal("", caption)))
            block.rawsource, block.children = rest, [nodes.Text(rest)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is ours."""
    app.connect("source-read", insert_keys)
    app.add_post_transform(PlainCells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
