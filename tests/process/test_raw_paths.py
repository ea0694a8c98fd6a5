"""Paths as a caller without a URL library may send them, to a real server."""

import http.client

import pytest
from memr_client import RewardClient
from support.serving import serving


@pytest.fixture(scope="module")
def client():
    with serving() as url, RewardClient(url, run="kept") as client:
        client.reward(["q"] * 2, ["a", "b"], [1, 0])
        client.create_checkpoint("kept", "good")
        yield client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/kept/checkpoints/..", 422),
        ("/runs/kept/checkpoints/%2e%2e", 422),
        ("/runs/kept/checkpoints/.", 422),
        ("/runs/kept/checkpoints/%2E", 422),
        ("/runs/kept/checkpoints/", 404),
        ("/runs/kept/checkpoints/..%2f", 404),
        ("/runs/kept/", 404),
        ("/runs/x/../kept", 404),
        ("/runs/x/%2e%2e/kept", 404),
        ("/runs/%2e%2e", 422),
        ("//runs/kept", 404),
        ("/runs%2Fkept", 404),
        ("/runs/kept%2Fcheckpoints%2fgood", 404),
        ("/runs/kept%00", 422),
        ("/runs/kept%0a", 422),
        ("/runs/%256bept", 422),
    ],
)
def test_a_path_that_only_resembles_a_route_deletes_nothing(client, path, status):
    connection = http.client.HTTPConnection(client.url.removeprefix("http://"))
    connection.request("DELETE", path)
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    connection.close()
    assert [run.run_id for run in client.runs()] == ["kept"]
    assert [one.name for one in client.checkpoints()] == ["good"]
