"""Freed memory leaves the process."""

from __future__ import annotations

import psutil
from memr_service.memory.allocator import give_back


def test_what_is_free_between_what_is_kept_goes_back_to_the_system() -> None:
    resident = psutil.Process().memory_info
    blocks = [bytes(10_000) for _ in range(10_000)]
    kept = blocks[::100]  # one in a hundred, the last one included below: the heap's end cannot be given back alone
    kept.append(blocks[-1])
    blocks.clear()
    before = resident().rss
    give_back()
    assert resident().rss < before - 50_000_000
    assert all(len(one) == 10_000 for one in kept)
