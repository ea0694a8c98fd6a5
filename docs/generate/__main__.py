"""`python -m docs.generate`: write what is generated, or check that it is up to date."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping
from pathlib import Path

from docs.generate import pages


def main() -> int:
    """Write or check the files; the exit status is 1 where a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="write the generated documentation")
    parser.add_argument("parts", nargs="*", choices=[[], *pages.PARTS], help="what to write (default: everything)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a file is out of date")
    asked = parser.parse_args()
    stale = [
        path for part in asked.parts or pages.PARTS for path in updated(pages.PARTS[part](), write=not asked.check)
    ]
    for path in stale:
        print(path.relative_to(pages.ROOT), "is out of date" if asked.check else "written")
    return bool(asked.check and stale)


def updated(texts: Mapping[Path, str], *, write: bool) -> list[Path]:
    """The files that differ from what they should be; with `write`, they are written, else the difference is shown."""
    stale = []
    for path, text in texts.items():
        old = path.read_text("utf-8") if path.exists() else ""
        if old == text:
            continue
        stale.append(path)
        if write:
            path.write_text(text, "utf-8")
        else:
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), str(path), "code"))
    return stale


if __name__ == "__main__":
    sys.exit(main())
