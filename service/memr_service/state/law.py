"""The versions of the semantics. A run keeps the one that it was created with."""

LAW = 4
"""The version that new runs get.

1: of a completion's messages, the assistant's contents are read. 2: also their reasoning and their tool calls. 3: a run
has pass rates, and may have prior runs and a pool. 4: a run has answers, and may have decisions about its references.
"""
LAWS = range(1, LAW + 1)
"""The versions that this release follows."""
PASS_RATES = 3
"""The first version with pass rates."""
ANSWERS = 4
"""The first version with answers."""
