"""The shared store: any number of services over one Redis or Valkey, no module needed.

A run's keys carry its number in braces, so that a cluster keeps them together:

    memr:runs               name -> uid
    memr:{uid}:run          how it was created, and its tip: branch, position, chain, segment in use
    memr:{uid}:branches     parent and start of each
    memr:{uid}:segments     branch and first position of each segment of the journal
    memr:{uid}:log:B:P      the records of branch B from position P on, a stream; columns:B:P beside it (`journal`)
    memr:{uid}:answer:ID    what a request id was answered with; expires (`answers`)
    memr:{uid}:snapshots    the states kept; snapshot:NAME:I their pieces (`snapshots`)
    memr:{uid}:graphs       files of indices; graph:FILE:I their pieces (`indices`)
    memr:{uid}:checkpoints  names of positions
    memr:{uid}:turn         whose turn it is where several write (`turns`); saving: who keeps a snapshot
    memr:{uid}:keeper       which process keeps its barrier (`keepers`)
    memr:doomed             runs being made or removed, and since when: what a crash leaves of them goes later

A commit is one script (commit.lua). It holds effects, not commands: other processes apply the same bytes.
"""

from memr_service.store.redis.store import RedisStore

__all__ = ["RedisStore"]
