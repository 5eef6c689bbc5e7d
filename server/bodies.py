"""What clients may ask for, a model a kind of job. What they mean is checked by the same typed
requests that the commands make, before a job is taken. Without torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from ..engine.steering import edits as steering
from ..engine.steering.alpha import MAX_ALPHA
from ..engine.steering.direction import Choice, Rule, Source
from ..engine.steering.request import EditMethod, EditRequest
from ..store.bank import one_line
from ..store.errors import StyleAtlasError

MAX_SEEDS, MAX_EDITS, MAX_NAMES = 64, 16, 64
MAX_SEED = 2**32 - 1


def edit_line(neutral: str, target: str, weight: float) -> str:
    """An edit as `Edit.parse` reads it; the weight is always told, lest the end of a prompt seem
    one."""
    return f"{neutral} -> {target} : {weight!r}"


def _prompt(text: str) -> str:
    try:
        return one_line("prompt", text)
    except StyleAtlasError as error:
        raise ValueError(str(error)) from error


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Of a job or a photo: what the service called it."""
LatentsId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Of what an inversion found: the `latents` of its result."""
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_prompt)]
MapperName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
"""Of a file in the folder of mappers."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""Of a layer or a channel."""
Names = Annotated[list[Name], Field(max_length=MAX_NAMES)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=MAX_SEEDS)]
Face = Annotated[int, Field(ge=1, le=1000)] | Literal["all"]
Align = (
    Literal["face", "none"]
    | Annotated[list[Annotated[float, Field(ge=-1e6, le=1e6)]], Field(min_length=3, max_length=3)]
)
"""By faces, as the whole picture, or as the part [x, y, size]."""
Label = Annotated[int, Field(ge=0, le=100_000)]
Alpha = Annotated[float, Field(ge=-MAX_ALPHA, le=MAX_ALPHA)]
Beta = Annotated[float, Field(gt=0, lt=1)]
Psi = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """What a client sends: nothing unknown, no NaN, no text in place of a number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    kind: ClassVar[str]

    def plain(self) -> dict[str, Any]:
        """As JSON values, what was not given by its default."""
        return self.model_dump(mode="json")


class Images(Body):
    """The images of a job: of seeds, of latents that an inversion made, or of a photo."""

    seeds: Seeds | None = None
    latents: LatentsId | None = None
    photo: Id | None = None
    truncation: Psi = 0.7
    label: Label | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Images:
        given = [name for name in ("seeds", "latents", "photo") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give one of seeds, latents and photo")
        return self


class OfPhoto(Body):
    """What of a photo is taken."""

    align: Align | None = None
    face: Face = 1


class EditLine(Body):
    """From one prompt to another, `weight` times as far as it would go alone."""

    neutral: Prompt
    target: Prompt
    weight: Annotated[float, Field(ge=-steering.MAX_WEIGHT, le=steering.MAX_WEIGHT)] = 1.0

    @model_validator(mode="after")
    def _can_be_written(self) -> EditLine:
        """As one line, as commands and recipes have it: an arrow inside a prompt could not."""
        try:
            steering.Edit.parse(edit_line(self.neutral, self.target, self.weight))
        except StyleAtlasError as error:
            raise ValueError(str(error)) from error
        return self


class EditBody(Images, OfPhoto):
    """An edit of images by prompts, as `styleatlas edit` makes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seeds": [1, 2],
                    "edits": [{"neutral": "a face", "target": "a face with glasses"}],
                    "before": True,
                }
            ]
        }
    )
    kind = "edit"
    edits: Annotated[list[EditLine], Field(min_length=1, max_length=MAX_EDITS)]
    keep: Annotated[list[Prompt], Field(max_length=MAX_EDITS)] = []
    method: EditMethod = "auto"
    alpha: Alpha | None = None
    probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    beta: Beta | None = None
    channels: Annotated[int, Field(ge=1, le=100_000)] | None = None
    rule: Rule = "reliable"
    source: Source = "auto"
    layers: Names = []
    exclude: Names = []
    before: bool = False
    mask: Id | None = None
    """A picture of the photo's size, sent as photos are: white where the photo may change."""

    @model_validator(mode="after")
    def _is_sound(self) -> EditBody:
        if self.mask is not None and self.photo is None:
            raise ValueError("mask: is of a photo; give one, or leave the mask out")
        try:
            self.request()
        except StyleAtlasError as error:
            raise ValueError(str(error)) from error
        return self

    def request(self) -> EditRequest:
        """The typed request of it.

        Raises:
            StyleAtlasError: what does not go together.
        """
        edits = tuple(steering.Edit(e.neutral, e.target, e.weight) for e in self.edits)
        choice = Choice(
            rule=self.rule,
            beta=self.beta,
            channels=self.channels,
            layers=tuple(self.layers),
            exclude=tuple(self.exclude),
            keep=tuple(self.keep),
            source=self.source,
        )
        return EditRequest(
            edits,
            choice,
            self.method,
            None if self.alpha is None else (self.alpha,),
            self.probability,
            before=self.before,
            truncation=self.truncation,
            label=self.label,
        )


class FilmBody(EditBody):
    """A film of an edit, there and back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seeds": [3],
                    "edits": [{"neutral": "a face", "target": "a smiling face"}],
                    "seconds": 2.0,
                    "format": "webp",
                }
            ]
        }
    )
    kind = "film"
    before: Literal[False] = False
    mask: None = None
    seconds: Annotated[float, Field(gt=0, le=60)] = 4.0
    fps: Annotated[float, Field(gt=0, le=60)] = 20.0
    format: Literal["gif", "webp", "mp4"] = "webp"


class InversionBody(OfPhoto):
    """The latents by which the generator draws a photo, as `styleatlas invert` finds them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"photo": "PHOTO", "align": "none", "steps": 0}]}
    )
    kind = "inversion"
    photo: Id
    space: Literal["w", "w+", "s"] = "w+"
    steps: Annotated[int, Field(ge=0, le=10_000)] | None = None
    label: Label | None = None


class OptimiseBody(Body):
    """An optimisation towards a prompt, as `styleatlas optimize` makes it, begun at the result of
    the atlas's direction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"seeds": [1], "neutral": "a face", "target": "a pirate", "steps": 20}]
        }
    )
    kind = "optimise"
    seeds: Seeds | None = None
    latents: LatentsId | None = None
    truncation: Psi = 0.7
    label: Label | None = None
    neutral: Prompt
    target: Prompt
    space: Literal["s", "w", "w+"] = "s"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 60
    learning_rate: Annotated[float, Field(ge=1e-6, le=1000)] = 0.1
    l2: Annotated[float, Field(ge=0, le=1000)] | None = None
    identity: Annotated[float, Field(ge=0, le=1000)] = 0.005
    directional: Annotated[float, Field(ge=0, le=1000)] = 1.0
    crops: Annotated[int, Field(ge=0, le=64)] = 0
    freeze: Names = []
    patience: Annotated[int, Field(ge=1, le=10_000)] = 20
    seed: Seed = 0

    @model_validator(mode="after")
    def _one_of_them(self) -> OptimiseBody:
        if (self.seeds is None) == (self.latents is None):
            raise ValueError("give one of seeds and latents")
        return self


class MapperBody(Images, OfPhoto):
    """An edit by a trained mapper of the library, as `styleatlas mapper apply` makes it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mapper": "wink", "seeds": [1, 2], "strength": 1.0}]}
    )
    kind = "mapper"
    mapper: MapperName
    strength: Annotated[float, Field(ge=-20, le=20)] = 1.0


class CropsBody(Body):
    """The parts of a photo that would be edited."""

    kind = "crops"
    photo: Id
    align: Align | None = None


class TextsBody(Body):
    """Prompts as CLIP embeds them."""

    kind = "texts"
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=MAX_EDITS)]


class ChannelsBody(Body):
    """What style channels do, in pictures: a row a seed, a column a step in sigma of the channel,
    as `styleatlas sheet` draws it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"channels": ["b16.conv1:20"], "seeds": [1, 2]}]}
    )
    kind = "channels"
    channels: Annotated[list[Name], Field(min_length=1, max_length=16)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=8)] = [1]
    steps: Annotated[
        list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=1, max_length=11)
    ] = [-10.0, -5.0, 0.0, 5.0, 10.0]
    truncation: Psi = 0.7
    label: Label | None = None


class SamplesBody(Body):
    """Unedited samples that have what the target says and that lack it, as `styleatlas query
    samples` draws them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"neutral": "a face", "target": "a face with a hat"}]}
    )
    kind = "samples"
    neutral: Prompt
    target: Prompt


class LiveStart(Body):
    """What a live session is of: the first message."""

    seeds: Annotated[list[Seed], Field(min_length=1, max_length=16)] | None = None
    latents: LatentsId | None = None
    truncation: Psi = 0.7
    label: Label | None = None
    format: Literal["webp", "jpeg"] = "webp"

    @model_validator(mode="after")
    def _one_of_them(self) -> LiveStart:
        if (self.seeds is None) == (self.latents is None):
            raise ValueError("give one of seeds and latents")
        return self


class LiveEdit(Body):
    """An edit of a live session, and how far it goes."""

    neutral: Prompt
    target: Prompt
    alpha: Alpha


class LiveMessage(Body):
    """What the images are to show now; `number` comes back with the frame. `moving` says that more
    is to come at once, as from a slider that is held: large images may then be smaller."""

    number: Annotated[int, Field(ge=1, le=2**53)]
    edits: Annotated[list[LiveEdit], Field(max_length=MAX_EDITS)] = []
    keep: Annotated[list[Prompt], Field(max_length=MAX_EDITS)] = []
    layers: Names = []
    beta: Beta | None = None
    moving: bool = False


BODIES: dict[str, type[Body]] = {
    body.kind: body
    for body in (
        EditBody,
        FilmBody,
        InversionBody,
        OptimiseBody,
        MapperBody,
        CropsBody,
        TextsBody,
        ChannelsBody,
        SamplesBody,
    )
}
"""By kind of job."""
