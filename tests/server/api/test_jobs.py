"""Jobs: taken once, watched, waited for, ended."""

from __future__ import annotations

import json

from styleatlas.server.api.jobs import MAX_WAIT, seconds_to_wait

PAIR = {"neutral": "a face", "target": "a face with glasses"}
EDIT = {"seeds": [1], "edits": [PAIR], "alpha": 1.0, "method": "direction"}
WAIT = {"Prefer": "wait=60"}


def events(text: str) -> list[tuple[int, str, dict]]:
    """A stream of server-sent events, read by the letter of HTML's section on them."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and line[0] != ":"]
        fields = {name: value for name, _, value in lines}
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_job_is_taken_at_once_and_found_where_it_says(http):
    answer = http.post("/api/v1/edits", json=EDIT)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["url"] == f"/api/v1/jobs/{job['id']}"
    assert http.get(job["url"]).json()["id"] == job["id"]
    assert len(job["id"]) >= 32  # nobody guesses it


def test_same_key_makes_no_second_job_and_another_body_is_refused(http):
    key = {"Idempotency-Key": "once"}
    first = http.post("/api/v1/edits", json=EDIT, headers=key).json()
    assert http.post("/api/v1/edits", json=EDIT, headers=key).json()["id"] == first["id"]
    other = http.post("/api/v1/edits", json=EDIT | {"seeds": [2]}, headers=key)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:styleatlas:problem:key-reused"
    assert http.post("/api/v1/edits", json=EDIT).json()["id"] != first["id"]


def test_events_are_numbered_end_with_the_job_and_go_on_where_they_were_left(http):
    job = http.post("/api/v1/edits", json=EDIT | {"seeds": [5]}).json()
    answer = http.get(job["events"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    kinds = [kind for _, kind, _ in told]
    assert kinds[0] == "queued" and "started" in kinds and kinds[-1] == "done"
    numbers = [number for number, kind, _ in told if kind != "queued"]
    assert numbers == sorted(set(numbers))
    assert told[-1][2]["job"] == http.get(job["url"]).json()
    last = told[-2][0]
    again = events(http.get(job["events"], headers={"Last-Event-ID": str(last)}).text)
    assert again == told[-1:]
    assert events(http.get(job["events"], headers={"Last-Event-ID": "999999999"}).text) == []


def test_deleted_job_is_gone_and_so_are_its_pictures(http):
    job = http.post("/api/v1/edits", json=EDIT | {"seeds": [6]}, headers=WAIT).json()
    (picture,) = job["result"]["pictures"]
    assert http.get(picture["url"]).status_code == 200
    assert http.delete(job["url"]).status_code == 204
    for url in (job["url"], job["events"], picture["url"]):
        assert http.get(url).status_code == 404
    assert http.delete(job["url"]).status_code == 404


def test_deleting_ends_a_job_that_runs(http):
    long = {"seeds": [1], **PAIR, "steps": 5000, "patience": 5000}
    job = http.post("/api/v1/optimisations", json=long).json()
    with http.stream("GET", job["events"]) as answer:
        for line in answer.iter_lines():
            if line.startswith("event: progress"):
                break
    assert http.delete(job["url"]).status_code == 204
    assert http.get(job["url"]).status_code == 404
    done = http.post("/api/v1/edits", json=EDIT, headers=WAIT).json()  # the worker is free again
    assert done["state"] == "done"


def test_what_is_preferred_is_read():
    assert seconds_to_wait(None) is None
    assert seconds_to_wait("respond-async") is None
    assert seconds_to_wait("wait") == MAX_WAIT
    assert seconds_to_wait("wait=3") == 3
    assert seconds_to_wait('respond-async, wait="7"; foo=1') == 7
    assert seconds_to_wait("wait=9999") == MAX_WAIT
    for other in ("await=3", "wait=x", "wait=-1", "wait=99999"):
        assert seconds_to_wait(other) is None


def test_log_tells_requests_by_their_route_and_no_prompts_or_names(service, http):
    answer = http.get("/api/v1/similar", params=PAIR)
    job = http.post("/api/v1/edits", json=EDIT, headers=WAIT).json()
    http.get(job["result"]["pictures"][0]["url"])
    lines = service.lines()
    (line,) = [x for x in lines if x.get("request") == answer.headers["x-request-id"]]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/similar", 200)
    assert line["client"] == "127.0.0.1" and line["bytes"] == len(answer.content)
    text = "".join(service.log)
    assert "glasses" not in text and job["id"] not in text
    assert job["result"]["pictures"][0]["url"].rpartition("/")[2] not in text
