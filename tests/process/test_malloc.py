"""Freed memory stays with the process from one request to the next, and leaves it when it is told to."""

from __future__ import annotations

import subprocess
import sys

import psutil
from memr_service.run.malloc import give_back


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


FAULTS = """
import resource, threading
import numpy as np
from memr_service.run.malloc import keep

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        arrays = [np.ones(size) for size in (20_000, 40_000, 80_000, 80_000, 80_000)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work():
    before = faults()
    keep()
    faults()
    print(before, faults())

thread = threading.Thread(target=work)  # as the engine is: another heap than the main thread's
thread.start()
thread.join()
"""


def test_arrays_of_the_next_request_need_no_new_pages() -> None:
    # In a process of its own, for it stays so.
    told = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    before, after = map(int, told.split())
    assert before > 1_000
    assert after < before / 20
