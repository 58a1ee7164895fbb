"""``python -m simulator``: see ``python -m simulator --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    from simulator.cli.commands import main as obey

    return obey(argv)


if __name__ == "__main__":
    sys.exit(main())
