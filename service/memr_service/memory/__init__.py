"""Episodic memory: prompts and, under each, completions that ended on one side of the outcome (L3, L4)."""

from memr_service.memory.completion_index import CompletionIndex
from memr_service.memory.curated import CuratedMemory, CuratedWrites
from memr_service.memory.curated_view import CuratedView
from memr_service.memory.memory import Memory, Writes
from memr_service.memory.prompt_index import PromptIndex
from memr_service.memory.vector_blocks import VectorBlocks
from memr_service.memory.view import Gathered, Reading, View

__all__ = [
    "CompletionIndex",
    "CuratedMemory",
    "CuratedView",
    "CuratedWrites",
    "Gathered",
    "Memory",
    "PromptIndex",
    "Reading",
    "VectorBlocks",
    "View",
    "Writes",
]
