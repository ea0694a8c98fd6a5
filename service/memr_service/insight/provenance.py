"""What a paper must cite of a run."""

from __future__ import annotations

import hashlib
from importlib import metadata

import orjson
from memr_client.schemas import Provenance

from memr_service.engine.versions import library_versions
from memr_service.run.run import Run


def provenance(run: Run) -> Provenance:
    """Where a run's rewards come from: config, law, encoder, libraries, and the chain in which its history ends.

    In the run thread.
    """
    info = run.info()
    config = orjson.dumps(info.config.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return Provenance(
        run_id=info.run_id,
        memr=metadata.version("memr"),
        law=run.law,
        config=info.config,
        config_sha256=hashlib.sha256(config).hexdigest(),
        encoder=info.encoder,
        dimension=info.dimension,
        created_at=info.created_at,
        branch=info.branch,
        position=info.position,
        step=info.step,
        completions=run.state.serial,
        chain=info.chain,
        versions=library_versions(),
    )
