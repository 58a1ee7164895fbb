"""``python -m calibration``: see ``python -m calibration --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    from calibration.cli import main as obey

    return obey(argv)


if __name__ == "__main__":
    sys.exit(main())
