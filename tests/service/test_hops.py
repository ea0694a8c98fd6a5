"""The path of a request: one real `POST /reward` is followed, and takes the path that the architecture page shows."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.cases import slow_after
from support.request_path import HOME, Step, follow

PAGE = Path(__file__).parents[2] / "docs/contributing/architecture.md"
ROW = re.compile(
    r"^\| (?P<hop>[^|]*) \| `(?P<file>[^`]+)` \| `(?P<function>[^`]+)` \| (?P<what>[^|]+) \|$", re.MULTILINE
)
TEXTS_ONLY = "Only for texts: "
LOOK_UP = Step("store/sqlite/responses.py", "SqliteResponses.find")

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell a method's class")


def page_rows(*, embeddings):
    """The rows of the page's table that hold for a request with embeddings, or with texts alone: hop and step."""
    section = PAGE.read_text("utf-8").partition("\n## The path of a request\n")[2].partition("\n## ")[0]
    rows = [row for row in ROW.finditer(section) if not (embeddings and row["what"].startswith(TEXTS_ONLY))]
    return [(row["hop"].strip(), Step(row["file"], row["function"])) for row in rows]


@pytest.fixture(scope="module", params=slow_after(1, [True, False]), ids=["embeddings", "texts"])
def followed(request):
    """The page's rows, and the trace of such a request."""
    return page_rows(embeddings=request.param), follow(embeddings=request.param)


def test_the_page_shows_all_five_hops_of_either_request():
    for embeddings in (False, True):
        hops = {hop for hop, _ in page_rows(embeddings=embeddings) if hop}
        assert hops == {"1 schema", "2 encoder", "3 memory", "4 reward", "5 store"}
    assert len(page_rows(embeddings=True)) < len(page_rows(embeddings=False))


def test_the_path_of_a_request_is_the_one_on_the_page(followed):
    rows, trace = followed
    path = dict.fromkeys(step for chain in trace.chains({step for hop, step in rows if hop}) for step in chain)
    assert [*path] == [step for _, step in rows]


def test_nothing_on_the_path_is_done_twice(followed):
    """The success and the failure memory are read once each, and the request id is looked up once."""
    rows, trace = followed
    reads = Step("memory/reading.py", "read")
    wanted = {step: 1 + (step == reads) for hop, step in rows if hop} | {LOOK_UP: 1}
    calls = Counter(call.step for call in trace.calls)
    assert {step: calls[step] for step in wanted} == wanted


@pytest.mark.slow
def test_the_trace_has_every_thread_of_a_request():
    """Otherwise the path above would say little: work in the run thread and in the encoder thread is seen."""
    trace = follow(embeddings=False)
    files = {call.step.file for call in trace.calls}
    assert {"app/access_log.py", "run/run.py", "store/sqlite/journal.py", "encoder/hashed.py"} <= files
    assert all((HOME / file).is_file() for file in files)
    commits = trace.chains({Step("store/sqlite/journal.py", "SqliteJournal.commit")})
    assert commits[0][0] == Step("app/access_log.py", "AccessLog.__call__")
