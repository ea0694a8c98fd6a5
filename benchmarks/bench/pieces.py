"""Memory-R+ from common libraries: sentence-transformers, which encodes a request's texts at once, and for each memory
two in-process Chroma collections, one for prompts and one for completions. A request is read, then stored."""

from __future__ import annotations

import uuid
from collections import deque
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings

from benchmarks.bench.singly import WINDOW
from benchmarks.bench.trace import Request


class Collections:
    """One memory."""

    def __init__(self, client: Any) -> None:
        space = {"hnsw:space": "cosine"}
        self._prompts, self._completions = (
            client.create_collection(uuid.uuid4().hex, metadata=space) for _ in range(2)
        )

    def near(self, prompt: np.ndarray, k: int) -> dict[str, Any]:
        """A Chroma condition for the completions under the k nearest prompts."""
        found = self._prompts.query(query_embeddings=[prompt], n_results=k)["ids"][0]
        return {"prompt": {"$in": found or ["none"]}}

    def mean(self, near: dict[str, Any]) -> np.ndarray | None:
        """The mean of some completions (d,)."""
        stored = self._completions.get(where=near, include=["embeddings"])["embeddings"]
        return np.mean(stored, axis=0) if len(stored) else None

    def distances(self, near: dict[str, Any], answers: np.ndarray) -> list[float | None]:
        """Distance of each new completion (n, d) to the most similar of the selected ones."""
        found = self._completions.query(query_embeddings=answers, n_results=1, where=near)["distances"]
        return [one[0] if one else None for one in found]

    def add(self, prompts: list[str], vectors: dict[str, np.ndarray], answers: np.ndarray) -> None:
        """Store completions (n, d) under their prompts."""
        if prompts:
            names = list(dict.fromkeys(prompts))
            self._prompts.upsert(ids=names, embeddings=[vectors[name] for name in names])
            ids, metadatas = [uuid.uuid4().hex for _ in prompts], [{"prompt": prompt} for prompt in prompts]
            self._completions.add(ids=ids, embeddings=answers, metadatas=metadatas)


class Pieces:
    """Rewards request by request, with a sentence-transformers model."""

    def __init__(self, model: Any, k: int) -> None:
        self._model = model
        self._k = k
        client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        self._success, self._failure = Collections(client), Collections(client)
        self._exploit: deque[float] = deque(maxlen=WINDOW)
        self._explore: deque[float] = deque(maxlen=WINDOW)

    def reward(self, request: Request) -> list[float]:
        """Score a request, then store it."""
        names = list(dict.fromkeys(request.prompts))
        encoded = self._model.encode([*names, *request.completions], batch_size=32, show_progress_bar=False)
        prompts, answers = dict(zip(names, encoded, strict=False)), encoded[len(names) :]
        asked = np.array(request.prompts)
        rewards = np.empty(len(asked))
        for name in names:
            here = asked == name
            rewards[here] = self._group(prompts[name], answers[here])
        right = np.array(request.outcomes) > 0.5
        for side, chosen in ((self._success, right), (self._failure, ~right)):
            side.add(asked[chosen].tolist(), prompts, answers[chosen])
        return rewards.tolist()

    def _group(self, prompt: np.ndarray, answers: np.ndarray) -> list[float]:
        mean = self._success.mean(self._success.near(prompt, self._k))
        found = self._failure.distances(self._failure.near(prompt, self._k), answers)
        return [
            _scaled(self._exploit, None if mean is None else -float(np.linalg.norm(answer - mean)))
            + _scaled(self._explore, distance)
            for answer, distance in zip(answers, found, strict=True)
        ]


def _scaled(window: deque[float], raw: float | None) -> float:
    if raw is None:
        return 0.0
    window.append(raw)
    return (raw - min(window)) / (max(window) - min(window) + 1e-8)
