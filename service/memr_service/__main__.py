"""The `memr` command, also where only the client is installed: then it says what to install."""

from __future__ import annotations

import os
import signal
import sys
import threading

AGAIN_S = 0.05
"""Seconds after which a Ctrl-C that was lost comes again."""


def main() -> None:
    """Run `memr` and exit: 0 done, 1 could not be done, 2 wrongly called, 130 stopped by Ctrl-C."""
    sys.unraisablehook = _not_lost
    try:
        from memr_service.cli.commands import run

        run()
    except KeyboardInterrupt:  # also while the modules are imported, which takes a second
        sys.exit(130)
    except ImportError as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or (missing.name or "memr_").startswith("memr_"):
            raise
        sys.exit(f"memr: the command line needs {missing.name}: pip install '.[service]' in a clone of memr")


def _not_lost(what: sys.UnraisableHookArgs) -> None:
    """Have a Ctrl-C come again that came while Python removed an object, where exceptions are ignored."""
    if what.exc_type is KeyboardInterrupt:
        timer = threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(what)


if __name__ == "__main__":
    main()
