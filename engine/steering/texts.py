"""The embedding of a prompt: from the atlas's bank, the user's cache, or CLIP. Without torch
unless CLIP has to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...prompts.embed import EncodeTexts, embed_prompts
from ...prompts.sets import MAX_TEMPLATES, is_template, prompt_set
from ...store.atlas import Atlas
from ...store.bank import one_line
from ...store.errors import AtlasFormatError
from ...store.queries import prompt_direction

if TYPE_CHECKING:
    from torch import Tensor

    from ...store.cache import TextCache
    from ..models.protocols import JointEncoder


class TextEmbedder:
    """Embeds prompts as the atlas does, with the templates its bank was made with.

    `load_encoder` is called, once, when a prompt is neither in the bank nor in the cache.
    """

    def __init__(self, atlas: Atlas, load_encoder: Callable[[], JointEncoder]) -> None:
        self._atlas = atlas
        self._load_encoder = load_encoder
        self._encoder: JointEncoder | None = None

    @cached_property
    def templates(self) -> tuple[str, ...]:
        """The sentences that a prompt is put in the place of {} of; see `templates_of`."""
        return templates_of(self._atlas)

    @property
    def has_encoder(self) -> bool:
        """Whether CLIP was loaded already."""
        return self._encoder is not None

    @property
    def encoder(self) -> JointEncoder:
        """The CLIP the atlas was drawn with, loaded when first used.

        Raises:
            FingerprintError: it is another one.
        """
        if self._encoder is None:
            import torch  # an embedder of known prompts does without

            with torch.inference_mode(False):  # through whose tensors no gradient goes
                encoder = self._load_encoder()
            self._atlas.fingerprint.require_clip(encoder.identity)
            self._encoder = encoder
        return self._encoder

    @cached_property
    def _cache(self) -> TextCache:
        from ...store.cache import TextCache  # prompts of the bank do without

        clip = self._atlas.fingerprint.clip
        if (
            not clip.configuration
        ):  # an atlas of before: which CLIP it is, the one at hand must tell
            clip = self.encoder.identity
        return TextCache(clip, self.templates, self._atlas.prompts.width)

    def embed(self, text: str) -> NDArray[np.float32]:
        """The unit embedding (D,) of a prompt.

        Raises:
            PromptError: an empty prompt, or one that is longer than CLIP's context.
        """
        known = self._atlas.prompts.find(text)
        if known is None:
            known = self._cache.find(text)
        if known is None:
            prompt = one_line("prompt", text)
            known = embed_prompts([prompt], self.templates, encode_with(self.encoder))[0]
            self._cache.remember(text, known)
        return known

    def direction(self, neutral: str, target: str) -> NDArray[np.float32]:
        """The unit direction (D,) from one prompt to another.

        Raises:
            PromptError: a prompt that cannot be embedded, or two that mean the same.
        """
        return prompt_direction(self.embed, neutral, target)


def templates_of(atlas: Atlas) -> tuple[str, ...]:
    """The sentences that an atlas's prompts are put in the place of {} of.

    Raises:
        AtlasFormatError: the settings hold others, which might do anything when filled in.
    """
    found = atlas.fingerprint.settings.get("templates", ["{}"])
    known = isinstance(found, list) and 0 < len(found) <= MAX_TEMPLATES
    if not known or not all(isinstance(text, str) and is_template(text) for text in found):
        raise AtlasFormatError(
            "attribute settings: templates must be texts with one {} each, for the prompt; "
            "draw the atlas again"
        )
    return tuple(found)


def embed_prompts_of(encoder: JointEncoder, prompts: Sequence[str]) -> Tensor:
    """The unit embeddings (n, D) of prompts, on the encoder's device, in the templates that an
    atlas drawn with this CLIP would have.

    Raises:
        PromptError: an empty prompt, or one that is longer than CLIP's context.
    """
    import torch  # an embedder of known prompts does without

    templates = prompt_set(encoder.identity.name).templates
    cleaned = [one_line("prompt", prompt) for prompt in prompts]
    embedded = embed_prompts(cleaned, templates, encode_with(encoder))
    return torch.from_numpy(embedded).to(encoder.device)


def encode_with(encoder: JointEncoder) -> EncodeTexts:
    """The encoder's text tower as a function to numpy."""

    def encode(sentences: list[str]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = encoder.texts(sentences).float().cpu().numpy()
        return embeddings

    return encode
