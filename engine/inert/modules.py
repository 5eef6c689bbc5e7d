"""The names in a whole CLIP that torch.save pickled as the module it is: its classes are never
imported, its modules become records of their attributes."""

from __future__ import annotations

from .allowed import MODULE, TORCH_GLOBALS
from .machine import Allowed

_TORCH = {
    "activation": ("GELU", "MultiheadAttention", "ReLU"),
    "batchnorm": ("BatchNorm2d",),
    "container": ("ModuleList", "Sequential"),
    "conv": ("Conv2d",),
    "dropout": ("Dropout",),
    # The second was the third's name before PyTorch 1.8.
    "linear": ("Linear", "_LinearWithBias", "NonDynamicallyQuantizableLinear", "Identity"),
    "normalization": ("LayerNorm",),
    "pooling": ("AvgPool2d",),
    "sparse": ("Embedding",),
}
_BLOCKS = ("LayerNorm", "QuickGELU", "ResidualAttentionBlock", "Transformer", "VisionTransformer")
_RESNET = ("AttentionPool2d", "Bottleneck", "ModifiedResNet")
_CLASSES = {
    **{f"torch.nn.modules.{module}": names for module, names in _TORCH.items()},
    "torch.nn.parallel.data_parallel": ("DataParallel",),
    "clip.model": ("CLIP", *_BLOCKS, *_RESNET),
    "open_clip.model": ("CLIP",),
    "open_clip.transformer": (*_BLOCKS, "LayerNormFp32"),
    "open_clip.modified_resnet": _RESNET,
}

CLIP_GLOBALS: Allowed = {
    **TORCH_GLOBALS,
    **{(module, name): MODULE for module, names in _CLASSES.items() for name in names},
}
"""For files of a CLIP: what torch.save writes, and modules of OpenAI's `clip` and of open_clip."""
