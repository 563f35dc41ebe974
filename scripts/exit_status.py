"""How a program ends: a user's mistake is one line, whatever started it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from vst_vla.scripts.config import HelpShown


def exit_status(name: str, run: Callable[[], int]) -> int:
    """What `run` returns; 0 after help, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        name: of the program, as messages begin.
        run: the program.
    """
    try:
        return run()
    except HelpShown:
        return 0
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("VST_VLA_DEBUG"):
            raise
        message = " ".join(str(error).split())
        print(f"{name}: {message}   (VST_VLA_DEBUG=1 shows where)", file=sys.stderr)
        return 2
