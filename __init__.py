"""StyleAtlas: edit StyleGAN images with words, by look-up.

The names below are resolved when first used, so that `import styleatlas` and `Atlas` stay free of
torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .store.version import __version__ as __version__

# StyleAtlas tells nobody what is done with it, and neither do the libraries that it uses. What the
# user says of them holds.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

if TYPE_CHECKING:
    from .engine.editor import Editor, load
    from .engine.models.load import load_encoder, load_generator
    from .engine.models.sampling import styles_from_seeds
    from .engine.result import EditResult
    from .engine.steering.direction import Choice
    from .store.atlas import Atlas
    from .store.errors import StyleAtlasError

__all__ = [
    "Atlas",
    "Choice",
    "EditResult",
    "Editor",
    "StyleAtlasError",
    "load",
    "load_encoder",
    "load_generator",
    "styles_from_seeds",
]

_HOMES = {
    "Atlas": ".store.atlas",
    "Choice": ".engine.steering.direction",
    "EditResult": ".engine.result",
    "Editor": ".engine.editor",
    "StyleAtlasError": ".store.errors",
    "load": ".engine.editor",
    "load_encoder": ".engine.models.load",
    "load_generator": ".engine.models.load",
    "styles_from_seeds": ".engine.models.sampling",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'styleatlas' has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
