"""A run as a resources server of the real NeMo Gym, by the example's config and nothing else.

The package needs Python 3.13 and packages that memr's tests do without, such as Ray and MLflow: `make nemo-gym` makes
an environment for it and runs this by NEMO_GYM_PYTHON. Without it this is skipped; tests/service/test_nemo_gym.py has
the bodies that were recorded here.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from memr_client import RewardClient
from memr_service.cli.rollouts import read
from support.keys import keys_file
from support.serving import serving

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("NEMO_GYM_PYTHON")
TASKS = [("What is 7 + 5?", "12", "train"), ("What is 6 + 6?", "12", "train"), ("What is 5 + 8?", "13", "test")]


@pytest.mark.skipif(PYTHON is None, reason="nemo-gym 0.7 needs Python 3.13: make nemo-gym")
def test_an_agent_is_rewarded_by_a_run_that_its_config_names(tmp_path):
    keys, key = keys_file(tmp_path, "a-key", name="gym", scope="admin")
    rows = [task(*one) for one in TASKS]
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    service = serving("--keys-file", str(keys), api_key=key)
    with service as url, RewardClient(url, run="gsm8k-gym", api_key=key) as client:
        client.create_run(preset="memory-r+", verifier="numeric", barrier="group", group_size=4)
        address = f'host: "memr:{key}@127.0.0.1", port: {url.rpartition(":")[2]}'
        config = (ROOT / "examples" / "nemo_gym.yaml").read_text("utf-8")
        config = config.replace("host: 127.0.0.1, port: 8000", address)
        (tmp_path / "config.yaml").write_text(config, "utf-8")
        script = ["-P", ROOT / "tests/support/nemo_gym_real.py"]  # that folder has modules with names of others
        files = ["config.yaml", "tasks.jsonl", "rollouts.jsonl"]
        subprocess.run([PYTHON, *script, *files, "4"], cwd=tmp_path, check=True, timeout=500)
        run = client.run()
        assert (run.position, run.memory.success.completions, run.memory.failure.completions) == (2, 4, 4)
        (replayed,) = client.replay("gsm8k-gym", [{}]).settings
        assert replayed.difference is None
    found = list(read(tmp_path / "rollouts.jsonl"))
    assert sum(one.outcome for one in found) == 5
    (metrics,) = json.loads((tmp_path / "rollouts_aggregate_metrics.json").read_text("utf-8"))
    assert metrics["key_metrics"]["mean/memr_outcome"] == pytest.approx(5 / 12)


def task(question, answer, split):
    asked = {"input": [{"role": "user", "content": question}]}
    return {"responses_create_params": asked, "expected_answer": answer, "split": split}
