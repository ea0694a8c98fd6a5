"""NeMo Gym's own servers and collector, run by an interpreter that has the package `nemo-gym`.

    python -P nemo_gym_real.py CONFIG.yaml TASKS.jsonl ROLLOUTS.jsonl REPEATS

Real: the parsing of the config, the head server, the agent, its environment server, the model server, and the collector
that writes the rollouts. Stand-ins: the model behind the model server, which says four things to each question; the
virtual environments, which would be installed for each server; and Ray, which none of these servers uses.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from nemo_gym.cli import env
from nemo_gym.global_config import GlobalConfigDictParserConfig
from nemo_gym.rollout_collection import RolloutCollectionConfig, RolloutCollectionHelper
from omegaconf import OmegaConf

SAYS = (12, 13, 12, 11)
WITHOUT_RAY = (
    "import runpy, sys, nemo_gym.server_utils as servers\n"
    "servers.initialize_ray = lambda: None\n"
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)
MODEL = """
policy_model:
  responses_api_models:
    openai_model: {entrypoint: app.py, openai_base_url: "URL", openai_api_key: none, openai_model: policy}
"""


class Policy(BaseHTTPRequestHandler):
    """An endpoint of OpenAI's Responses form."""

    asked = itertools.count()
    of_question: ClassVar = defaultdict(itertools.count)

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
        n, place = next(self.asked), next(self.of_question[json.dumps(question)])
        text = {"type": "output_text", "text": f"It must be {SAYS[place % 4]}.", "annotations": []}
        said = {"type": "message", "id": f"msg_{n}", "role": "assistant", "status": "completed", "content": [text]}
        settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        told = {"id": f"resp_{n}", "created_at": 0, "model": "policy", "object": "response", **settings}
        self._answer(json.dumps({**told, "output": [said]}).encode())

    def do_GET(self) -> None:
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def launched(folder: Path, config: Any, name: str, entrypoint: Path) -> str:
    """The command that starts a server, by this interpreter."""
    return f"cd {shlex.quote(str(folder))} && exec {shlex.join([sys.executable, '-c', WITHOUT_RAY, str(entrypoint)])}"


def collect(config: str, tasks: str, rollouts: str, repeats: int) -> None:
    """Start the servers of a config, collect rollouts of the tasks, and stop the servers."""
    policy = ThreadingHTTPServer(("127.0.0.1", 0), Policy)
    threading.Thread(target=policy.serve_forever, daemon=True).start()
    model = OmegaConf.create(MODEL.replace("URL", f"http://127.0.0.1:{policy.server_port}/v1"))
    given = OmegaConf.merge(OmegaConf.load(config), model)
    env._server_launch_command = launched
    env.initialize_ray = lambda: None
    servers = env.RunHelper()
    servers.start(GlobalConfigDictParserConfig(
        initial_global_config_dict=given, skip_load_from_cli=True, skip_load_from_dotenv=True
    ))  # fmt: skip
    try:
        asked = RolloutCollectionConfig(
            agent_name="math", input_jsonl_fpath=tasks, output_jsonl_fpath=rollouts, num_repeats=repeats
        )
        asyncio.run(RolloutCollectionHelper().run_from_config(asked))
    finally:
        servers.shutdown()


if __name__ == "__main__":
    collect(*sys.argv[1:4], int(sys.argv[4]))
