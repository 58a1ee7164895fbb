"""``python -m simulator``: see ``python -m simulator --help``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

OBJECTS = 100_000
"""New objects between two searches for cyclic garbage: imports make many that stay, and to search them again and again
is a tenth of a short run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    from simulator.cli.commands import main as obey

    return obey(argv)


if __name__ == "__main__":
    gc.set_threshold(OBJECTS)
    code = main()
    gc.freeze()  # the process ends: what is left needs no last search either
    sys.exit(code)
