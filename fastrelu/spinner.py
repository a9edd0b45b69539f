"""A sign of life while something takes longer than expected, at an interactive terminal only."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading

__all__ = ["spinning"]

DELAY, TURN = 1.0, 0.1  # seconds
FRAMES = "|/-\\"


@contextlib.contextmanager
def spinning(text):
    """Context manager: show `text` and a turning bar on stderr from `DELAY` on until the block ends."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield
        return
    done = threading.Event()
    turning = threading.Thread(
        target=_turn, args=(text, done, sys.stderr), name="fastrelu-spinner", daemon=True
    )
    turning.start()
    try:
        yield
    finally:
        done.set()
        turning.join()


def _turn(text, done, terminal):
    if done.wait(DELAY):
        return
    for frame in itertools.cycle(FRAMES):
        print(f"\r\033[K{text} {frame}", end="", file=terminal, flush=True)
        if done.wait(TURN):
            break
    print("\r\033[K", end="", file=terminal, flush=True)
