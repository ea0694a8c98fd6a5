"""The versions of the semantics. A run keeps the one that it was created with."""

LAW = 3
"""The version that new runs get.

1: of a completion's messages, the assistant's contents are read. 2: also their reasoning and their tool calls. 3: a run
has pass rates, and may have prior runs and a pool.
"""
LAWS = range(1, LAW + 1)
"""The versions that this release follows."""
PASS_RATES = 3
"""The first version with pass rates."""
