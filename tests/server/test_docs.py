"""What documents tell people to type to a running service works, docs/server.md above all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .. import service as services
from ..documents import DOCUMENTS, RUN_BY_A_SERVICE, Block, blocks

EDIT = {
    "seeds": [1],
    "edits": [{"neutral": "a face", "target": "a face with glasses"}],
    "alpha": 1.0,
    "method": "direction",
}
MARKED = [block for name in DOCUMENTS for block in blocks(name) if block.mark == RUN_BY_A_SERVICE]
PROGRAMS = [block for block in MARKED if block.kind == "python"]


def calls() -> list[str]:
    """Every call of curl, with its further lines."""
    lines = "\n".join(block.text for block in MARKED if block not in PROGRAMS)
    return re.findall(r"(?m)^curl(?:.|\n(?!curl))*", lines)


@pytest.fixture
def told(http, service, drawings, tmp_path, monkeypatch) -> dict[str, str]:
    """What the document speaks of by variables: a job, its picture, a photo."""
    monkeypatch.chdir(tmp_path)
    drawings(3).save("drawing.png")
    job = http.post("/api/v1/edits", json=EDIT, headers={"Prefer": "wait=60"}).json()
    photo = http.post("/api/v1/photos", content=Path("drawing.png").read_bytes()).json()
    picture = job["result"]["pictures"][0]["url"].rpartition("/")[2]
    while http.get("/api/v1/ready").status_code != 200:
        pass
    return {"S": service.url, "JOB": job["id"], "PICTURE": picture, "PHOTO": photo["id"]}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("call", calls())
def test_every_call_of_the_document_is_served(call, told):
    line = call.replace("curl -s", "curl -s --fail-with-body --noproxy '*'", 1)
    done = subprocess.run(
        ["bash", "-c", line], env=os.environ | told, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done


def test_every_route_has_a_call(http):
    """In the document, but for those of browsers and of older pages."""
    text = "".join(calls())
    for path in http.get("/openapi.json").json()["paths"]:
        if path.startswith("/api/v1/"):
            known = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
            assert re.search(re.sub(r"{\w+}", r"[^/\\s\"]+", known), text), path


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_python_of_a_document_works(program: Block, told):
    done = subprocess.run(
        [sys.executable, "-c", program.text],
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=services.PATIENCE,
    )
    assert done.returncode == 0, done
    assert "done" in done.stdout and Path("sad.png").exists()
