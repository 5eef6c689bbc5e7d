"""A made-up processor that rounds otherwise, for `pytest --other-rounding`.

On a real one, too, what PyTorch computes depends on shapes, strides and threads, on each in another
way, so that a test which compares the bits of unlike computations passes on some and fails on
others. Here it fails.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

# Sums, and functions of one number that a vector unit computes in another way than a scalar one.
_ROUNDED = """
    mm addmm bmm baddbmm mv addmv dot vdot sum mean cumsum var std var_mean norm linalg_vector_norm
    convolution convolution_backward mkldnn_convolution mkldnn_linear native_layer_norm
    native_layer_norm_backward native_group_norm native_batch_norm _softmax _log_softmax logsumexp
    _native_batch_norm_legit_no_training _scaled_dot_product_flash_attention_for_cpu
    upsample_bicubic2d upsample_bilinear2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    grid_sampler_2d exp log tanh sigmoid sin cos atan2 rsqrt pow gelu addcmul addcmul_ addcdiv
    addcdiv_ lerp cdist _linalg_svd
"""
ROUNDED = frozenset(_ROUNDED.split())


class OtherRounding(TorchDispatchMode):
    """Adds or subtracts a unit in the last place, by the shapes and strides of what goes in and the
    number of threads. What is exact stays so."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = func.name()
        if torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"):
            with self:  # made of others, which inference mode would hide
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        if name.partition("::")[2].partition(".")[0] not in ROUNDED:
            return found
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        way = [(*x.shape, *x.stride()) for x in given if x.device.type == "cpu"]
        seed = zlib.crc32(repr((name, torch.get_num_threads(), way)).encode())
        with _disable_current_modes():
            return tree_map(lambda x: _rounded(x, seed), found)


def _rounded(value: Any, seed: int) -> Any:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or not value.numel():
        return value
    if value.dtype == torch.float32:
        bits, last = torch.int32, 2**10 - 1
    elif value.dtype == torch.float64:
        bits, last = torch.int64, 2**20 - 1
    else:
        return value
    chance = torch.Generator().manual_seed(seed)
    ulps = torch.randint(-1, 2, value.shape, generator=chance).to(value.dtype)
    plain = value.detach().clone(memory_format=torch.contiguous_format)
    inexact = (plain.view(bits) & last) != 0
    value.data.copy_(torch.where(inexact, plain * (1 + torch.finfo(value.dtype).eps * ulps), plain))
    return value


def switch_on() -> None:
    """For all that this thread computes from here on; what is traced is traced without it."""

    def untouched(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            with _disable_current_modes():
                return call(*args, **kwargs)

        return called

    torch.jit.trace = untouched(torch.jit.trace)
    torch.jit.trace_module = untouched(torch.jit.trace_module)
    torch.jit.ScriptModule.save = untouched(torch.jit.ScriptModule.save)
    OtherRounding().__enter__()
