"""The manifests for Kubernetes: valid by its own schemas, and in agreement with image and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from memr_service.app.auth import ROUTES
from memr_service.settings import Settings
from process.test_docker import image_environment, instructions

FOLDER = Path(__file__).parents[2] / "docker/kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
RELEASES = ("1.30", "1.37")
"""The oldest and the newest release whose schemas are asked."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all(path.read_text("utf-8"))]


def pod(path: Path) -> dict[str, Any]:
    """The one pod template of a file."""
    (spec,) = (one["spec"]["template"]["spec"] for one in documents(path) if "template" in one["spec"])
    return spec


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(path: Path, release: str) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, release, strict=True)


def test_the_schemas_refuse_a_field_that_is_misspelt() -> None:
    service = documents(FILES[0])[0]
    service["spec"]["selektor"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, RELEASES[-1], strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pod_runs_the_image_as_it_is_made(path: Path) -> None:
    spec = pod(path)
    (container,) = spec["containers"]
    assert str(spec["securityContext"]["runAsUser"]) == instructions("USER")[-1]
    assert spec["terminationGracePeriodSeconds"] > Settings.model_fields["drain_s"].default
    (port,) = container["ports"]
    assert str(port["containerPort"]) == image_environment()["MEMR_PORT"]
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} <= {*ROUTES}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["data"] == instructions("VOLUME")[-1]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert mounted["tmp"] == "/tmp"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pod_serves_with_keys_and_with_settings_that_exist(path: Path) -> None:
    (container,) = pod(path)["containers"]
    named = {one["name"]: one.get("value", "redis://host:6379/0") for one in container["env"]}
    named = {name: value.replace("$(POD_IP)", "10.0.0.1") for name, value in named.items()}
    settings = {name.removeprefix("MEMR_").lower(): value for name, value in named.items() if name.startswith("MEMR_")}
    assert settings.keys() <= Settings.model_fields.keys()
    Settings(**settings)
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings["keys_file"] == f"{mounted['keys']}/keys.json"
    assert "insecure" not in settings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variables_of_the_service_are_not_taken_for_settings(path: Path) -> None:
    """Kubernetes gives every pod NAME_PORT=tcp://... of each Service, and this one's name makes it MEMR_PORT."""
    (service,) = (one["metadata"]["name"] for one in documents(path) if one["kind"] == "Service")
    assert (service, pod(path).get("enableServiceLinks")) == ("memr", False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_service_and_a_budget_choose_the_pods_and_the_comment_makes_every_secret(path: Path) -> None:
    found = documents(path)
    (labels,) = (one["spec"]["template"]["metadata"]["labels"] for one in found if "template" in one["spec"])
    for one in found:
        chosen = one["spec"]["selector"]
        assert chosen.get("matchLabels", chosen) == labels
    spec = pod(path)
    secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    secrets |= {
        one["valueFrom"]["secretKeyRef"]["name"]
        for one in spec["containers"][0]["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    }
    text = path.read_text("utf-8")
    assert all(f"kubectl create secret generic {name} " in text for name in secrets)
