"""The embedded store: one process, and a data directory or memory.

memr.db      runs, branches, records, responses, checkpoints (`database`)
snapshots/   states of runs: <uid>/<branch>-<position>.state (`snapshots`)
index/       files of vector indexes: <uid>/<name> (`index_files`)
lock, owner  which process has the directory (`data_directory`)
"""

from memr_service.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
