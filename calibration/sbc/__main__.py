"""``python -m calibration.sbc``: see ``python -m calibration.sbc --help``."""

from __future__ import annotations

import sys

from calibration.sbc.cli import main

if __name__ == "__main__":
    sys.exit(main())
