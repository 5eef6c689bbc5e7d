"""What a CLIP is built from, found by a folder, a file, or a name of open_clip's.

    FOLDER             open_clip's layout: open_clip_config.json and one file of weights; or that
                       of Hugging Face's transformers: config.json and one file of weights
    FILE               OpenAI's archive or state dict; a whole module; a file of such a folder
    MODEL/TAG          published weights, as open_clip lists them; fetched once, then cached
    MODEL=FILE         a file in an architecture of open_clip's; also MODEL/TAG=FILE, for the
                       preprocessing and activation that the tag's weights were trained with
    hf://OWNER/REPO    a repository on the Hub in the layout of such a folder; also by open_clip's
                       hf-hub:OWNER/REPO. Where FILE may stand, a file there: hf://OWNER/REPO/FILE

open_clip supplies its tables and its download of MODEL/TAG; the files are read by this package
alone.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...store.errors import CheckpointError, FetchError, OptionError
from ...store.hub import HubFile, fetched
from ...store.hub_names import HubName, is_hub, read_name
from ...store.paths import require_clip
from ...store.registry import file_of, told_with
from . import clip_transformers as transformers
from .clip_file import ClipWeights, read_clip_weights
from .clip_shapes import known_models, openai_config

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_model.pt",
)
VOCABULARY_NAME = "bpe.txt.gz"


@dataclass(frozen=True)
class ClipSource:
    """Everything a CLIP is built from.

    Args:
        name: what people know it by.
        place: what describes it, for messages: a file or a name.
        model: open_clip's `model_cfg`.
        preprocess: open_clip's `preprocess_cfg`; what it leaves out is as in OpenAI's CLIP.
        folder: where its tokenizer lies; None: open_clip's or Hugging Face's of that name.
    """

    name: str
    place: str
    weights: ClipWeights
    model: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def quick_gelu(self) -> bool:
        """Its activation: QuickGELU or GELU. What the file tells counts before a description."""
        told = self.weights.quick_gelu
        return bool(self.model.get("quick_gelu")) if told is None else told


def find_clip(source: str, name: str) -> ClipSource:
    """Find a CLIP and read its weights; `name` is for one that is a file or a folder.

    Raises:
        CheckpointError: a file is missing, unreadable, cannot be fetched, or does not say what
            its architecture is.
        OptionError: open_clip knows no such model or weights.
        FetchError, OutputError: see `fetched`.
    """
    if is_hub(source):
        named = read_name(source)
        return _file_on_hub(named) if named.file else _on_hub(named)
    path = Path(source)
    if path.is_dir():
        return _in_folder(path, name)
    if path.is_file():
        return of_weights(read_clip_weights(path), name)
    model, equals, file = source.partition("=")
    if equals:
        return _in_architecture(source, model, file_of(file))
    require_clip(source)
    return _published(source)


def _in_folder(folder: Path, name: str) -> ClipSource:
    present = [folder / file for file in WEIGHTS_NAMES if (folder / file).is_file()]
    if (folder / transformers.CONFIG_NAME).is_file() and not present:
        return _by_transformers(folder, name)
    model, preprocess = _read_config(folder / CONFIG_NAME)
    if not present:
        raise CheckpointError(
            f"{folder}: holds no {WEIGHTS_NAMES[0]}, nor {', '.join(WEIGHTS_NAMES[1:])}; "
            "put the weights there by one of these names"
        )
    weights = read_clip_weights(present[0])
    return ClipSource(name, str(folder / CONFIG_NAME), weights, model, preprocess, folder)


def _by_transformers(folder: Path, name: str, weights: ClipWeights | None = None) -> ClipSource:
    """A CLIP in the layout of Hugging Face's transformers, of these weights or those in it."""
    path = folder / transformers.CONFIG_NAME
    config = transformers.read_config(path)
    if weights is None:
        names = transformers.WEIGHTS_NAMES
        present = [folder / file for file in names if (folder / file).is_file()]
        if not present:
            raise CheckpointError(
                f"{folder}: holds no {' or '.join(names)} beside its {path.name}; save the "
                "weights there in one file (`save_pretrained` with a larger max_shard_size)"
            )
        weights = read_clip_weights(present[0])
    model = transformers.model_config(path, config, weights)
    preprocess = transformers.preprocess_config(folder, model["vision_cfg"]["image_size"])
    transformers.require_own_vocabulary(folder)
    return ClipSource(name, str(path), weights, model, preprocess)


def of_weights(weights: ClipWeights, name: str) -> ClipSource:
    """A CLIP of the weights of a file, by what that tells or what lies beside it.

    Raises:
        CheckpointError: neither says what its architecture and activation are.
    """
    path = weights.path
    told = weights.traits
    if told.quick_gelu is not None:
        model = openai_config(weights, told.heads)
        return ClipSource(name, str(path), weights, model, dict(told.preprocess))
    if weights.transformers:
        if not (path.parent / transformers.CONFIG_NAME).is_file():
            raise CheckpointError(
                f"{path}: is a CLIP of Hugging Face's transformers without its "
                f"{transformers.CONFIG_NAME}, which tells its activation; put that beside it, and "
                f"its {transformers.PREPROCESSOR_NAMES[0]}"
            )
        return _by_transformers(path.parent, name, weights)
    config = path.parent / CONFIG_NAME
    if not config.is_file():
        raise CheckpointError(f"{path}: {untold(weights)}")
    model, preprocess = _read_config(config)
    return ClipSource(name, str(config), weights, model, preprocess, path.parent)


def untold(weights: ClipWeights) -> str:
    """What weights that do not tell their activation are, and how to name them so that it is
    known. It is never guessed: both kinds are common, and the wrong one changes every embedding."""
    from open_clip import list_models, list_pretrained_tags_by_model

    path, models = weights.path, known_models(weights)
    if models is None:
        return (
            "does not say what its architecture is; name that as open_clip calls it, "
            f"MODEL/TAG={path} (such as ViT-B-32/openai={path}), or put its {CONFIG_NAME} beside it"
        )
    if not models:
        return (
            "has the shapes of no model of open_clip's, and does not say its activation; put an "
            f'{CONFIG_NAME} beside it: the `model_cfg` of `styleatlas info`, with "quick_gelu" '
            "true, as OpenAI's CLIPs have it, or false"
        )
    model = models[0]
    quick = f"{model}-quickgelu"
    if "openai" in list_pretrained_tags_by_model(model):
        quick = f"{model}/openai"
    names = [f"{model}={path} if it was trained with GELU, as open_clip does"]
    if "/" in quick or quick in list_models():
        names.insert(0, f"{quick}={path} if it comes from OpenAI's CLIP, with QuickGELU")
    return (
        f"has the shapes of {model}, which do not show its activation; name it "
        f"{', '.join(names)}, or put its {CONFIG_NAME} beside it"
    )


def _on_hub(repository: HubName) -> ClipSource:
    """The CLIP of a repository in open_clip's layout, or that of transformers."""
    config = _first_there(repository, CONFIG_NAME, transformers.CONFIG_NAME)
    repository = repository.at(config.name.revision or "")
    name = str(repository)
    if config.path.name == transformers.CONFIG_NAME:
        _first_there(repository, *transformers.WEIGHTS_NAMES)
        _first_there(repository, *transformers.PREPROCESSOR_NAMES)
        _first_there(repository, *transformers.VOCABULARY_NAMES)
        return _by_transformers(config.path.parent, name)
    weights = _first_there(repository, *WEIGHTS_NAMES)
    model, preprocess = _read_config(config.path)
    folder = None
    with suppress(FetchError):
        folder = _first_there(repository, VOCABULARY_NAME).path.parent
    return ClipSource(name, name, read_clip_weights(weights.path), model, preprocess, folder)


def _file_on_hub(file: HubName) -> ClipSource:
    """The CLIP of one file, with what lies beside it there where the file alone does not tell what
    it is."""
    found = fetched(file)
    weights = read_clip_weights(found.path)
    if weights.traits.quick_gelu is None:
        beside: list[tuple[str, ...]] = [(CONFIG_NAME,), (VOCABULARY_NAME,)]
        if weights.transformers:
            kinds = (transformers.PREPROCESSOR_NAMES, transformers.VOCABULARY_NAMES)
            beside = [(transformers.CONFIG_NAME,), *kinds]
        for names in beside:
            with suppress(FetchError):  # what is missing is said by who needs it
                _first_there(found.name, *names)
    return of_weights(weights, str(found.name))


def _first_there(place: HubName, *names: str) -> HubFile:
    """The first of these files that lies on the Hub beside another, or in a repository."""
    for name in names[:-1]:
        with suppress(FetchError):
            return fetched(place.beside(name))
    return fetched(place.beside(names[-1]))


def _in_architecture(source: str, named: str, path: Path) -> ClipSource:
    model, tag = _known_model(source, named)
    config, settings = _tables(source, model, tag)
    return ClipSource(path.stem, named, read_clip_weights(path), config, settings)


def _published(source: str) -> ClipSource:
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.pretrained import download_pretrained

    model, tag = _known_model(source, source)
    tags = list_pretrained_tags_by_model(model)
    if not tag:
        published = f"{_some([f'{model}/{tag}' for tag in tags])}, or " if tags else ""
        raise OptionError(
            f"CLIP {source!r}: names an architecture without weights; name {published}"
            f"a file: {model}=FILE"
        )
    config, settings = _tables(source, model, tag)
    path = _fetch(
        source,
        f"connect to the network once, or name a file: {model}/{tag}=FILE",
        lambda: download_pretrained(get_pretrained_cfg(model, tag)),
    )
    return ClipSource(source, source, read_clip_weights(path), config, settings)


def _known_model(source: str, named: str) -> tuple[str, str]:
    """The model and the tag (or "") in MODEL/TAG; OpenAI's spelling ViT-B/32 is understood."""
    from open_clip import list_models

    models = list_models()
    model, slash, tag = named.rpartition("/")
    whole = named.replace("/", "-")
    if not slash or whole in models:
        model, tag = whole, ""
    model = model.replace("/", "-")
    if model not in models:
        raise OptionError(
            f"CLIP {source!r}: is no file or folder, and open_clip knows no model {model!r}; "
            + _nearest(model, models, "see open_clip.list_models()")
        )
    return model, tag


def _tables(source: str, model: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What open_clip knows of a model and a tag: `model_cfg` and `preprocess_cfg`.

    Without a tag the preprocessing is what all published weights of the model agree upon.
    """
    from open_clip import get_model_config, get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(model)
    config: dict[str, Any] = get_model_config(model)
    if tag:
        settings: dict[str, Any] = get_pretrained_cfg(model, tag)
        if not settings:
            raise OptionError(
                f"CLIP {source!r}: open_clip knows no weights {tag!r} of {model}; "
                + _nearest(tag, tags, f"it knows {_some(tags) if tags else 'none'}")
            )
        # open_clip itself only warns when a tag's weights want QuickGELU and the model has none.
        if settings.get("quick_gelu"):
            config["quick_gelu"] = True
        return config, settings
    keys = ("mean", "std", "interpolation", "resize_mode")
    known = [{key: get_pretrained_cfg(model, tag)[key] for key in keys} for tag in tags]
    return config, known[0] if known and all(other == known[0] for other in known) else {}


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        config = json.loads(path.read_text("utf-8"))
        model, preprocess = config["model_cfg"], config.get("preprocess_cfg", {})
        if not isinstance(model, dict) or not isinstance(preprocess, dict):
            raise ValueError("model_cfg and preprocess_cfg must be objects")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: is no CLIP configuration that can be built ({_reason(error)}); "
            f"name a folder in open_clip's layout, or {told_with('clip')}"
        ) from error
    return model, preprocess


def _fetch(source: str, mend: str, download: Callable[[], str]) -> Path:
    """Where open_clip and Hugging Face put a file, or had put it before."""
    try:
        path = download()
    except Exception as error:  # whatever a network, a proxy or a hub client can raise
        raise CheckpointError(
            f"CLIP {source!r}: could not be fetched ({_reason(error)}); {mend}"
        ) from error
    if not path:
        raise CheckpointError(f"CLIP {source!r}: is published nowhere that is known; {mend}")
    return Path(path)


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    lowered = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"did you mean {lowered[close[0]]}?" if close else otherwise


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:3])
    return listed + (f" (and {len(names) - 3} more)" if names[3:] else "")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
