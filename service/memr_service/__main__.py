"""The `memr` command, also where only the client is installed: then it says what to install."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `memr` and exit: 0 done, 1 could not be done, 2 wrongly called, 130 stopped by Ctrl-C."""
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


if __name__ == "__main__":
    main()
