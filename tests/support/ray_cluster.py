"""memr under a Ray of its own, in a process of its own: what is killed with it cannot outlive a test.

    python tests/ray_cluster.py PORT

Serves on the port until it is terminated, with two replicas of the app and two of the encoder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.serving import free_port

READY = "serving\n"


@contextmanager
def ray_serving(store: str) -> Iterator[str]:
    """The url of such a cluster, over a store that its replicas share."""
    port = free_port()
    settings = {"MEMR_STORE": store, "MEMR_INSECURE": "true", "MEMR_ENCODER": "hashed"}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", __name__, str(port)]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | settings | quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as driver:
        try:
            assert driver.stdout is not None
            assert READY in driver.stdout, "the application did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            driver.terminate()
            try:
                driver.wait(60)
            except subprocess.TimeoutExpired:
                driver.kill()  # Ray's own processes end with the one that began them


def main(port: int) -> None:
    import ray
    from memr_service.app.ray import Scale, application
    from ray import serve

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    ray.init("local", num_cpus=8, include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        serve.start(http_options={"port": port})
        serve.run(application(Scale(replicas=2, min_encoders=2)), name="memr")
        print(READY, end="", flush=True)
        stopping.wait()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
