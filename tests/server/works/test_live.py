from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from styleatlas.engine.editor import load
from styleatlas.engine.models.generator import StyleGANGenerator
from styleatlas.engine.models.sampling import styles_from_seeds
from styleatlas.engine.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from styleatlas.server.works.live import Rendering, Session, of_moving
from styleatlas.server.works.nouns import Frame
from styleatlas.server.works.session import LiveSession
from styleatlas.server.works.wire import read
from styleatlas.server.works.worker import Worker
from styleatlas.store.errors import Missing, OptionError, QueueFull, TooMany

from ...near import assert_near
from .conftest import ENDLESS, Served, serving

FACE, SMILE, GLASSES = "a face", "a smiling face", "a face with glasses"


def message(number: int, alpha: float, target: str = SMILE, **more) -> dict:
    return {
        "number": number,
        "edits": [{"neutral": FACE, "target": target, "alpha": alpha}],
        **more,
    }


class Looking:
    """A client of a live session."""

    def __init__(self, served: Served, **start) -> None:
        self._served = served
        self.session = served.call(served.works.live("anna", start))
        self._frames = self.session.frames()

    def send(self, told: dict) -> None:
        self._served.on_loop(lambda: self.session.send(told))

    def frame(self) -> Frame:
        return self._served.call(anext(self._frames))

    def close(self) -> None:
        self._served.call(self.session.close())


@pytest.fixture
def looking(served) -> Iterator[Looking]:
    looking = Looking(served, seeds=[1])
    assert looking.frame().number == 0
    yield looking
    looking.close()
    assert served.works.health()["sessions"] == 0


@pytest.fixture(scope="module")
def editor():
    return load("avatars")


def test_frame_shows_the_edit(looking, editor):
    looking.send(message(1, 0.6))
    frame = looking.frame()
    assert (frame.number, frame.type, frame.whole) == (1, "image/webp", True)
    wanted = editor.edit(seeds=[1], neutral=FACE, target=SMILE, alpha=0.6).pil()
    with Image.open(io.BytesIO(frame.content)) as found:
        assert found.size == wanted.size == (frame.status["width"], frame.status["height"])
        difference = np.asarray(found.convert("RGB"), float) - np.asarray(wanted.convert("RGB"))
        before = editor.edit(seeds=[1], neutral=FACE, target=SMILE, alpha=0.0).pil()
        moved = np.asarray(before.convert("RGB"), float) - np.asarray(wanted.convert("RGB"))
        assert np.abs(difference).mean() < 6, "WebP loses a little"
        assert np.abs(difference).max() < np.abs(moved).max()


def test_newest_message_wins(served, looking):
    served.signal_worker(signal.SIGSTOP)
    for number in range(1, 51):
        looking.send(message(number, number / 100))
    served.signal_worker(signal.SIGCONT)
    numbers = [looking.frame().number]
    while numbers[-1] != 50:
        numbers.append(looking.frame().number)
    assert len(numbers) <= 3, "what was overtaken is not rendered"


def test_many_messages_fill_no_pipe(served, looking):
    pid = served.signal_worker(signal.SIGSTOP)
    for number in range(1, 3001):
        looking.send(message(number, 0.5, keep=["a hat" * 50]))
    (hand,) = served.works._floor.hands
    assert hand.pid == pid
    waiting = served.call(written(hand))
    served.signal_worker(signal.SIGCONT)
    assert waiting < 1000, "bytes that the worker has not taken"
    while looking.frame().number != 3000:
        pass


async def written(hand) -> int:
    return hand._process.stdin.transport.get_write_buffer_size()


def test_frames_come_while_a_job_runs(served, looking):
    job = served.submit("optimise", **ENDLESS)
    served.until(job, "progress")
    for number in range(1, 4):
        looking.send(message(number, number / 10))
        assert looking.frame().number == number
    assert served.works.job(job.id).state == "running"
    served.call(served.works.cancel(job.id))
    assert served.ended(job).state == "cancelled"


def test_what_cannot_be_done_is_told_and_the_session_goes_on(looking):
    looking.send(message(1, 0.5, keep=[""]))
    refused = looking.frame()
    assert refused.number == 1 and not refused.content
    assert refused.status["problem"].startswith("prompt: is empty; write")
    looking.send(message(2, 0.5))
    assert looking.frame().content


def test_session_of_what_is_not_there_is_refused(served):
    with pytest.raises(Missing):
        served.call(served.works.live("anna", {"latents": "x" * 32}))
    looking = Looking(served, seeds=list(range(17)))
    assert looking.frame().status["problem"].startswith("images: are 17")
    with pytest.raises(StopAsyncIteration):  # it is over
        looking.frame()
    assert served.works.health()["sessions"] == 0


def test_session_goes_on_where_its_worker_is_lost(tmp_path):
    with serving(tmp_path, sessions=1) as served:
        looking = Looking(served, seeds=[1, 2])
        looking.send(message(1, 0.5))
        while looking.frame().number != 1:
            pass
        with pytest.raises(TooMany):
            Looking(served, seeds=[1])
        served.signal_worker(signal.SIGKILL)
        frame = looking.frame()
        assert frame.number == 1 and frame.content, "the newest message is answered again"
        looking.send(message(2, 0.7))
        assert looking.frame().number == 2
        looking.close()
        Looking(served, seeds=[1]).close()


def test_session_goes_on_where_its_worker_hangs(tmp_path):
    with serving(tmp_path, frame=10.0) as served:
        looking = Looking(served, seeds=[1])
        assert looking.frame().number == 0
        hung = served.signal_worker(signal.SIGSTOP)
        looking.send(message(1, 0.5))
        frame = looking.frame()
        assert frame.number == 1 and frame.content
        (worker,) = served.works.health()["workers"]
        assert worker["pid"] != hung
        looking.close()


def test_a_client_has_a_share_of_the_sessions(tmp_path):
    with serving(tmp_path, sessions=3, sessions_each=1) as served:
        looking = Looking(served, seeds=[1])
        with pytest.raises(TooMany, match=r"^sessions: 1 of yours are open; close one"):
            Looking(served, seeds=[1])
        other = served.call(served.works.live("bo", {"seeds": [1]}))
        served.call(other.close())
        looking.close()
        served.call(served.works.drain(0.0))
        with pytest.raises(QueueFull, match=r"^service: is ending"):
            Looking(served, seeds=[1])


def test_session_that_workers_are_lost_at_twice_is_over():
    left = []
    session = LiveSession(1, "anna", {"seeds": [1]}, None, left.append, 60.0)

    async def frames() -> list[Frame]:
        return [frame async for frame in session.frames()]

    session.lose()
    session.take(Frame(1, b"picture", "image/webp", True, {}))
    session.lose()
    assert left == [], "a frame came in between"
    session.lose()
    assert left == [session]
    (last,) = asyncio.run(frames())
    assert last.status == {"problem": "session: its worker was lost, twice; open another one"}


@torch.inference_mode()
def test_rendering_that_resumes_is_the_whole_one(editor):
    styles = styles_from_seeds(editor.generator, [1, 2], 0.7, None)
    rendering = Rendering(editor.generator, styles)
    layers = list(editor.atlas.layout)
    generator = torch.Generator().manual_seed(0)
    now = styles
    for number in (9, 9, 4, 9, 0, 9, 9, 12, 12):
        now = now.clone()
        start = layers[number].start
        now[:, start:] += 0.3 * torch.randn(now[:, start:].shape, generator=generator)
        images, changed = rendering.of(now)
        assert changed == layers[number]
        assert_near(images, editor.generator.render(now), 1e-4)
    assert rendering.of(now)[1] is None, "nothing changed"


@pytest.mark.gpu
@torch.inference_mode()
def test_rendering_that_a_gpu_plays_back_is_the_whole_one(monkeypatch):
    monkeypatch.setattr("styleatlas.server.works.live.PLAYED_BACK", True)
    generator = load("avatars", device="cuda").generator
    now = styles_from_seeds(generator, [1, 2], 0.7, None)
    rendering = Rendering(generator, now)
    for start in (40, 200, 40):
        now = now.clone()
        now[:, start:] += 0.3
        images, _ = rendering.of(now)
        assert_near(images.cpu(), generator.render(now).cpu(), 1e-4)


@pytest.fixture
def session(editor) -> Session:
    return Session(editor, editor.generator, {"seeds": [1, 2], "format": "jpeg"}, None)


def test_frame_is_not_made_again_where_nothing_changed(session):
    first = session.frame(message(1, 0.5, GLASSES))
    assert session.frame(message(2, 0.5, GLASSES)) is first
    assert session.frame(message(3, 0.6, GLASSES)) is not first


@torch.inference_mode()
def test_moving_images_are_drawn_one_at_a_time(editor):
    row = Session(editor, editor.generator, {"seeds": [1, 2, 3, 4, 5]}, None)
    styles = row._moved(*row._directions(message(1, 0.6, GLASSES)))
    between: list[int] = []
    images, layer = row._drawn(styles, lambda: between.append(1))
    assert len(between) == 4
    assert_near(images, editor.generator.render(styles))
    changed = (styles != row._start.styles).any(0).nonzero()[0]
    assert layer == editor.generator.layout.locate(int(changed))[0]


def test_one_image_does_not_wait_for_a_row_of_them(editor, tmp_path, monkeypatch):
    answers = io.BytesIO()
    worker = Worker(io.BytesIO(), answers, tmp_path)
    row = Session(editor, editor.generator, {"seeds": [1, 2, 3, 4, 5]}, None)
    one = Session(editor, editor.generator, {"seeds": [6]}, None)
    worker._sessions = {1: row, 2: one, 3: row}
    moving = {"message": message(7, 0.6, GLASSES, moving=True)}
    begun = row._renderings[0].of

    def while_others_ask(styles):
        worker._pending = {2: moving, 3: moving}
        return begun(styles)

    monkeypatch.setattr(row._renderings[0], "of", while_others_ask)
    worker._pending = {1: moving}
    worker._look_after_sessions()
    assert list(worker._pending) == [3], "another row waits for its turn"
    answers.seek(0)
    assert [read(answers)[0]["session"] for _ in range(2)] == [2, 1]


def test_images_that_come_to_rest_are_those_that_moved_and_of_the_edit(session, editor):
    """Two edits, one of them back, one of which takes off what the second image does not have."""
    edits = [
        {"neutral": "a face with a hat", "target": FACE, "alpha": 0.8},
        {"neutral": SMILE, "target": FACE, "alpha": -0.5},
        {"neutral": FACE, "target": GLASSES, "alpha": 0.0},
    ]
    directions, alphas = session._directions({"edits": edits})
    assert alphas == [0.8, 0.5]
    texts = ["a face with a hat -> a face : 0.8", "a smiling face -> a face : -0.5"]
    wanted = editor.edit(seeds=[1, 2], edits=texts, alpha=1.0)
    with torch.inference_mode():
        assert_near(session._moved(directions, alphas), wanted.styles, 1e-6)
        images, told = session._edited(directions, alphas)
    assert_near(images, wanted.images)
    shifts = editor.measure(wanted)
    for i, image in enumerate(told["images"]):
        assert image["image"] == f"seed {i + 1}" and image["status"] == wanted.status[i]
        assert image["probability"] == pytest.approx([s.probability[i] for s in shifts], abs=1e-3)
        assert image["before"] == pytest.approx([s.before[i] for s in shifts], abs=1e-3)
    assert wanted.alphas[:, 0] == pytest.approx([0.8, 0.0]), "the second has no hat to take off"


def test_images_that_lack_a_thing_get_it_where_taking_it_off_goes_backwards(session, editor):
    (hat,), _ = session._directions(
        {"edits": [{"neutral": "a face with a hat", "target": FACE, "alpha": 0.8}]}
    )
    with torch.inference_mode():
        subject = editor.subject(seeds=[1, 2])
        wanted = editor.apply(subject, (hat,), -0.8)
        assert_near(session._moved((hat,), (-0.8,)), wanted.styles, 1e-6)
    assert wanted.alphas[:, 0] == pytest.approx([-0.8, -0.8])


def test_image_without_edits_is_as_it_was(session, editor):
    frame = session.frame({"number": 1, "edits": []})
    assert frame.whole and [image["image"] for image in frame.status["images"]] == [
        "seed 1",
        "seed 2",
    ]
    with Image.open(io.BytesIO(frame.content)) as found:
        before = editor.edit(seeds=[1, 2], neutral=FACE, target=SMILE, alpha=0.0).pil()
        difference = np.asarray(found.convert("RGB"), float) - np.asarray(before.convert("RGB"))
        assert np.abs(difference).mean() < 6, "JPEG loses a little"


def test_large_generators_draw_drafts_while_something_moves(editor):
    sides = [2**k for k in range(2, 11)]
    network = StyleGAN2(
        StyleGAN2Config(z_dim=6, w_dim=6, mapping_layers=1, channels=dict.fromkeys(sides, 2))
    )
    large = StyleGANGenerator(network, editor.generator.identity)
    moving = of_moving(large)
    assert max(moving.image_size) == 512 and moving.layout is large.layout
    assert of_moving(editor.generator) is editor.generator


def test_many_images_that_move_are_drawn_smaller(editor):
    session = Session(editor, editor.generator, {"seeds": list(range(16))}, None)
    moving = session.frame(message(1, 0.3, moving=True))
    whole = session.frame(message(2, 0.3))
    assert (moving.whole, moving.status["width"]) == (False, 256)
    assert (whole.whole, whole.status["width"]) == (True, 256)


def test_formats_are_those_there_are(editor):
    with pytest.raises(OptionError, match=r"^format 'gif': is none of webp, jpeg"):
        Session(editor, editor.generator, {"seeds": [1], "format": "gif"}, None)
