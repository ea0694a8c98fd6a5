"""The `memr` command: runs the command line and turns what can go wrong into one line that says what to do."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `memr` and exit: 0 done, 1 could not be done, 2 wrongly called."""
    try:
        from memr_service.cli.commands import run

        run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing.startswith("memr_"):
            raise
        sys.exit(f"memr: {missing} is not installed. Run: pip install 'memr[service]'")


if __name__ == "__main__":
    main()
