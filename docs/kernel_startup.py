"""What a notebook's kernel does first when the site is built: shell cells show their output whole and plain.

IPython's own `%%bash` hands output over in pieces of 100 bytes, which a page shows with breaks between them, and a
kernel tells every program that it writes to a coloured terminal. A command that fails ends the build.
"""

import os
import subprocess

from IPython.core.magic import register_cell_magic

for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR"):
    os.environ.pop(name, None)


@register_cell_magic
def bash(line: str, cell: str) -> None:
    """Run a cell in a shell and show what it said, errors among the rest."""
    done = subprocess.run(["bash", "-e", "-c", cell], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout}")
