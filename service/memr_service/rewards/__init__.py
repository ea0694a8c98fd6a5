"""The mathematics of a reward. Nothing here changes a run.

score.py         the entry: which order, then read, evaluate, shape (L9)
official.py      the order of the released code; open_group.py: of the barrier `snapshot`
staging.py       which items each memory takes (L3); write_gates.py: what keeps them out
context.py       what a component may use; evaluate.py: gathers it for each component
components/      one equation to a file
guards/          what rejects items, and what bounds and scales their rewards
shaping.py       guards, windows, weights and the sum (L6, L8)
groups.py        statistics of groups
zeros.py         why rewards are 0, in words
"""
