"""``python -m simulator.engines.compiled``: compile the engine into the cache, and nothing else.

A process of its own, beside one that compiles what comes before and after the engine. It ends when its input does, so
that it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import signal
import threading

from simulator.engines.compiled.early import compile_engine


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that started this one
    threading.Thread(target=_end_with_input, daemon=True).start()
    compile_engine()
