"""Every metric of a server: what `/metrics` of a running one shows."""

from __future__ import annotations

import httpx
from memr_client.embedded import EmbeddedTransport
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from docs.generate.markdown import table

BUCKET = {"le"}
"""Labels that belong to a histogram's buckets."""


def metrics() -> str:
    """Every metric by its name in Prometheus: type, labels and help."""
    plain, labelled = families(run_label=False), families(run_label=True)
    rows = []
    for name, family in sorted(labelled.items()):
        labels = [f"`{label}`" for label in _labels(plain[name])]
        labels += [f"(`{label}`)" for label in _labels(family) if f"`{label}`" not in labels]
        total = "_total" if family.type == "counter" else ""
        rows.append([f"`{name}{total}`", family.type, ", ".join(labels), family.documentation])
    return table(["metric", "type", "labels", "meaning"], rows)


def families(*, run_label: bool) -> dict[str, Metric]:
    """Name -> metric, of a server that has answered a few requests."""
    transport = EmbeddedTransport("memory:", encoder="hashed", run_label=run_label)
    with httpx.Client(transport=transport, base_url="http://memr") as client:
        body = {"run_id": "r", "prompts": ["q"], "completions": ["a"], "outcomes": [1.0], "request_id": "twice"}
        for _ in range(2):
            client.post("/reward", json=body).raise_for_status()
        client.get("/runs/r/audits").raise_for_status()
        shown = client.get("/metrics").raise_for_status().text
    found = text_string_to_metric_families(shown)
    return {one.name: one for one in found if one.name.startswith("memr_") and not one.name.endswith("_created")}


def _labels(family: Metric) -> list[str]:
    return list(dict.fromkeys(label for sample in family.samples for label in sample.labels if label not in BUCKET))
