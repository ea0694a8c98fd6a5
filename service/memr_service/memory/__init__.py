"""Episodic memory: prompts and, under each, completions that ended on one side of the outcome (L3, L4).

memory.py            a memory: prompts in the order they came, completions under each
curated.py           a memory whose entries are counted, grow old and leave in any order
writes.py            what a record writes to a memory
view.py              a memory with writes staged on it; curated_view.py likewise
reading.py           what items read there: the completions of the k nearest prompts
neighbours.py        the most similar completions, whatever their prompt
index.py             a vector index; prompt_index.py, prompt_slots.py and completion_index.py are its kinds
hnsw.py              one HNSW graph and its files
vector_blocks.py     vectors by row
cosine.py, grid.py   exact cosines, exact sums
distinct.py          which of some keys are distinct
"""

from memr_service.memory.completion_index import CompletionIndex
from memr_service.memory.curated import CuratedMemory
from memr_service.memory.curated_view import CuratedView
from memr_service.memory.index import GraphSizes
from memr_service.memory.memory import Memory
from memr_service.memory.prompt_index import PromptIndex
from memr_service.memory.reading import Reading
from memr_service.memory.vector_blocks import VectorBlocks
from memr_service.memory.view import Gathered, View
from memr_service.memory.writes import CuratedWrites, Write, Writes

__all__ = [
    "CompletionIndex",
    "CuratedMemory",
    "CuratedView",
    "CuratedWrites",
    "Gathered",
    "GraphSizes",
    "Memory",
    "PromptIndex",
    "Reading",
    "VectorBlocks",
    "View",
    "Write",
    "Writes",
]
