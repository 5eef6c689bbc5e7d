"""Questions that the atlas answers. The service's own process answers them; prompts that the bank
does not hold are embedded by a worker first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathPart
from numpy.typing import NDArray
from pydantic import BaseModel

from ...engine.jobs.questions import (
    ask_samples,
    channel_records,
    direction_record,
    entangled_records,
)
from ...engine.steering.texts import TextEmbedder
from ...store.atlas import Atlas
from ...store.bank import normalise_prompt
from ...store.describe import atlas_record
from ...store.library import MAPPER_SUFFIXES, library_folder
from ...store.records import Record
from ..bodies import Prompt, TextsBody
from .jobs import Client, Jobs
from .problems import Refusal, documented

MAX_TOP = 1000
_REMEMBERED, _ROUNDS, _SECONDS = 4096, 16, 30.0

Answer = TypeVar("Answer")


class Unknown(Exception):  # noqa: N818 # it says what is missing, and is mended
    """A prompt that is still to be embedded."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
        self.prompt = prompt


class Prompts(TextEmbedder):
    """The prompts of the bank, and those that a worker has embedded."""

    def __init__(self, atlas: Atlas) -> None:
        super().__init__(atlas, _no_encoder)
        self._bank = atlas.prompts
        self._learned: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def embed(self, text: str) -> NDArray[np.float32]:
        """Raises: Unknown: it is to be learned first."""
        known = self._bank.find(text)
        if known is None:
            known = self._learned.get(normalise_prompt(text))
        if known is None:
            raise Unknown(text)
        return known

    def learn(self, text: str, embedding: NDArray[np.float32]) -> None:
        """Keeps an embedding (D,), and forgets the oldest of too many."""
        self._learned[normalise_prompt(text)] = embedding
        if len(self._learned) > _REMEMBERED:
            self._learned.popitem(last=False)


def _no_encoder() -> NoReturn:
    raise RuntimeError("this process has no CLIP; a worker has it")


class Questions:
    """Answers questions to an atlas.

    Args:
        atlas: that is served.
        name: it goes by.
        mappers: the folder of mappers; the user's library if not given.
    """

    def __init__(self, atlas: Atlas, name: str, mappers: Path | None, jobs: Jobs) -> None:
        self.atlas, self.name = atlas, name
        self.mappers = mappers or library_folder()
        self._jobs, self._prompts = jobs, Prompts(atlas)
        self.phrases = tuple(sorted(atlas.prompts.texts, key=str.casefold))

    async def ask(self, question: Callable[[TextEmbedder], Answer], client: str) -> Answer:
        """The answer to a question, which is asked again whenever a prompt had to be learned.

        Raises:
            StyleAtlasError: what the question raises.
            Refusal: no worker embeds prompts in time.
        """
        for _ in range(_ROUNDS):
            try:
                return await anyio.to_thread.run_sync(question, self._prompts)
            except Unknown as unknown:
                await self._learn(unknown.prompt, client)
        raise Refusal(422, "unsuitable", "the prompts stand for too many others", "say less")

    async def _learn(self, prompt: str, client: str) -> None:
        job = await self._jobs.submit(TextsBody(prompts=[prompt]), client)
        job = await self._jobs.waited(job.id, _SECONDS)
        if job.problem is not None:
            raise Refusal(422, "unsuitable", job.problem.detail, job.problem.mend or None)
        if job.result is None:
            raise Refusal(
                503,
                "busy",
                "no worker was free to embed the prompts",
                "ask again, or use phrases of the atlas (/api/v1/phrases)",
                {"Retry-After": "5"},
            )
        (embedding,) = job.result["record"]["embeddings"]
        self._prompts.learn(prompt, np.asarray(embedding, np.float32))


def questions_of(request: Request) -> Questions:
    found: Questions = request.app.state.questions
    return found


TheQuestions = Annotated[Questions, Depends(questions_of)]
Neutral = Annotated[Prompt, Query(description="Where from.", examples=["a face"])]
Target = Annotated[Prompt, Query(description="Where to.", examples=["a face with glasses"])]
Top = Annotated[int, Query(ge=1, le=MAX_TOP, description="How many.")]


class Records(BaseModel):
    """What the atlas answers, most first."""

    records: list[dict[str, Any]]


class Phrases(BaseModel):
    """Phrases of the bank, by the alphabet."""

    phrases: list[str]
    total: int


class SamplesAnswer(BaseModel):
    """What samples say, and which of them to look at; POST sheets draws them."""

    record: dict[str, Any]
    rows: dict[str, list[int]]


router = APIRouter(prefix="/api/v1", tags=["look-ups"], responses=documented(404))


@router.get("/atlases")
async def list_atlases(questions: TheQuestions) -> Records:
    """What is served: the atlas, its generator and CLIP, its layers."""
    return Records(records=[{"name": questions.name, **atlas_record(questions.atlas)}])


@router.get("/mappers")
async def list_mappers(questions: TheQuestions) -> Records:
    """Trained mappers, by the names that POST mapper-edits takes."""
    return Records(records=[{"mapper": name} for name in mapper_names(questions.mappers)])


@router.get("/phrases")
async def list_phrases(
    questions: TheQuestions,
    prefix: Annotated[str, Query(max_length=300, examples=["a face with"])] = "",
    top: Top = 20,
) -> Phrases:
    """Phrases of the atlas's bank that begin so, or have a word that does."""
    found = await anyio.to_thread.run_sync(_beginning, questions.phrases, prefix)
    return Phrases(phrases=found[:top], total=len(found))


def _beginning(phrases: Iterable[str], prefix: str) -> list[str]:
    start = " ".join(prefix.split()).casefold()
    beginning, inside = [], []
    for phrase in phrases:
        folded = phrase.casefold()
        if folded.startswith(start):
            beginning.append(phrase)
        elif f" {start}" in folded:
            inside.append(phrase)
    return beginning + inside


@router.get("/directions")
async def get_direction(
    questions: TheQuestions, client: Client, neutral: Neutral, target: Target, top: Top = 20
) -> dict[str, Any]:
    """The direction that an edit would take: its source, what samples say of it (kind, share,
    separation), what comes with it, and its strongest channels."""

    def asked(texts: TextEmbedder) -> Record:
        return direction_record(questions.atlas, texts, neutral, target, top)

    return await questions.ask(asked, client)


@router.get("/channels")
async def list_channels(
    questions: TheQuestions, client: Client, neutral: Neutral, target: Target, top: Top = 20
) -> Records:
    """The channels that a pair of prompts moves."""

    def asked(texts: TextEmbedder) -> list[Record]:
        return channel_records(questions.atlas, texts, neutral, target, top)

    return Records(records=await questions.ask(asked, client))


@router.get("/channels/{label}")
async def get_channel(
    questions: TheQuestions,
    label: Annotated[str, PathPart(max_length=100, examples=["b16.conv1:20"])],
    top: Top = 20,
) -> Records:
    """What a channel, written layer:number, or a whole layer means, in phrases. POST sheets draws
    it."""
    found = await anyio.to_thread.run_sync(questions.atlas.query_prompts, label, top)
    return Records(records=found)


@router.get("/similar")
async def list_similar(
    questions: TheQuestions, client: Client, neutral: Neutral, target: Target, top: Top = 20
) -> Records:
    """Phrases whose edits go the same way."""

    def asked(texts: TextEmbedder) -> list[Record]:
        text = texts.direction(neutral, target)
        return questions.atlas.query_similar(texts.embed(neutral), text, top)

    return Records(records=await questions.ask(asked, client))


@router.get("/entangled")
async def list_entangled(
    questions: TheQuestions, client: Client, neutral: Neutral, target: Target, top: Top = 20
) -> Records:
    """What else an edit moves."""

    def asked(texts: TextEmbedder) -> list[Record]:
        return entangled_records(questions.atlas, texts, neutral, target, top)

    return Records(records=await questions.ask(asked, client))


@router.get("/samples")
async def get_samples(
    questions: TheQuestions, client: Client, neutral: Neutral, target: Target
) -> SamplesAnswer:
    """What unedited images say of a pair of prompts, and which samples have it most, in the middle,
    and least."""

    def asked(texts: TextEmbedder) -> SamplesAnswer:
        found = ask_samples(questions.atlas, texts, neutral, target)
        rows = {name: [int(number) for number in numbers] for name, numbers in found.rows}
        return SamplesAnswer(record=found.record, rows=rows)

    return await questions.ask(asked, client)


def mapper_names(folder: Path) -> list[str]:
    """The mappers of a folder, by the names of their files."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path.name for path in found if path.suffix.lower() in MAPPER_SUFFIXES)
