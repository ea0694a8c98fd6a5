"""The shared store: any number of services over one Redis or Valkey, no module needed.

A run's keys carry its number in braces, so that a cluster keeps them together:

    memr:runs               name -> uid
    memr:{uid}:run          how it was created, and its tip: branch, position, chain, segment in use
    memr:{uid}:branches     parent and start of each branch
    memr:{uid}:segments     branch and first position of each segment of the journal
    memr:{uid}:log:B:P      the records of branch B from position P on, a stream (`journal`)
    memr:{uid}:columns:B:P  their columns, a stream as well
    memr:{uid}:answer:ID    the response to a request id, by branch; expires (`responses`)
    memr:{uid}:snapshots    the states kept; snapshot:NAME:I their chunks (`snapshots`, `blobs`)
    memr:{uid}:saving       the snapshot that a process is writing now
    memr:{uid}:graphs       the index files kept; graph:FILE:I their chunks (`index_files`, `blobs`)
    memr:{uid}:checkpoints  names of positions (`checkpoints`)
    memr:{uid}:turn         which process commits next, where several lose races (`backoff`)
    memr:{uid}:keeper       which process holds the lease (`leases`)
    memr:doomed             runs being made or removed, and since when: after a crash they are removed later (`runs`)

A commit is one script (commit.lua). It holds effects, not commands: other processes apply the same bytes.
"""

from memr_service.store.redis.store import RedisStore

__all__ = ["RedisStore"]
