"""Rewards over plain HTTP, as from any language.

memr serve &
python examples/plain_http.py --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import uuid

import httpx

PROMPT = "Tom has 3 boxes with 12 pencils each. He gives away 9 pencils. How many are left?"
COMPLETIONS = [
    "3 boxes of 12 pencils are 36 pencils. 36 - 9 = 27. The answer is 27.",
    "There are 3 * 12 = 36 pencils. After giving away 9 he has 36 - 9 = 27.",
    "3 + 12 = 15 pencils. He gives away 9, so 15 - 9 = 6 are left.",
    "He has 12 pencils and gives away 9. 12 - 9 = 3.",
]
OUTCOMES = [1, 1, 0, 0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    with httpx.Client(base_url=parser.parse_args().url, timeout=60) as http:
        body = {
            "run_id": "example-http",
            "prompts": [PROMPT] * len(COMPLETIONS),
            "completions": COMPLETIONS,
            "outcomes": OUTCOMES,
            "request_id": uuid.uuid4().hex,  # a second request with this id gets the same response and counts once
        }
        for attempt in ("first", "again"):
            response = http.post("/reward", json=body).raise_for_status()
            replayed = response.headers.get("Idempotency-Replayed", "false")
            print(attempt, [round(reward, 3) for reward in response.json()["rewards"]], "replayed:", replayed)

        refused = http.post("/reward", json={**body, "outcomes": [1]})
        print(refused.status_code, refused.json()["detail"])  # an RFC 9457 problem document


if __name__ == "__main__":
    main()
