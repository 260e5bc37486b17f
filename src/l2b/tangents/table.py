"""Which operation has which rule."""

from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload

from l2b.tangents import norms, rules
from l2b.tangents.rules import Rule

aten = torch.ops.aten

LINEAR = """
    neg.default sum.default sum.dim_IntList mean.default mean.dim clone.default _to_copy.default
    mul.Scalar div.Scalar avg_pool1d.default avg_pool2d.default avg_pool3d.default
    _adaptive_avg_pool2d.default _adaptive_avg_pool3d.default upsample_nearest1d.default
    upsample_nearest2d.default upsample_nearest3d.default upsample_linear1d.default
    upsample_bilinear2d.default upsample_bicubic2d.default upsample_trilinear3d.default
    index_select.default index.Tensor gather.default cumsum.default flip.default roll.default
    reflection_pad1d.default reflection_pad2d.default replication_pad2d.default repeat.default
    pixel_shuffle.default im2col.default col2im.default
"""

STILL = """
    empty_like zeros_like ones_like full_like rand_like randn_like randint_like bernoulli new_empty
    new_zeros new_ones new_full new_empty_strided argmax argmin _local_scalar_dense nonzero
    eq ne lt le gt ge isnan isinf isfinite sign floor ceil round _assert_async
    equal is_same_size
"""


def _overload(name: str) -> OpOverload | None:
    packet, overload = name.split(".")
    return getattr(getattr(aten, packet, None), overload, None)


def _rules() -> dict[Callable[..., Any], Rule]:
    table: dict[str, Rule] = {name: rules.linear for name in LINEAR.split()}
    table |= {
        "cat.default": rules.joined,
        "stack.default": rules.joined,
        "add.Tensor": rules.added,
        "sub.Tensor": rules.added,
        "add.Scalar": rules.added,
        "sub.Scalar": rules.added,
        "mul.Tensor": rules.multiplied,
        "div.Tensor": rules.divided,
        "mm.default": rules.product,
        "bmm.default": rules.product,
        "mv.default": lambda call: rules.total(
            None if call.dots[0] is None else call.dots[0] @ call.args[1],
            None if call.dots[1] is None else call.args[0] @ call.dots[1],
        ),
        "addmm.default": rules.affine,
        "convolution.default": rules.convolved,
        "embedding.default": rules.embedded,
        "max_pool2d_with_indices.default": rules.pooled,
        "max_pool3d_with_indices.default": rules.pooled,
        "native_dropout.default": rules.dropped,
        "_scaled_dot_product_flash_attention_for_cpu.default": rules.attended,
        "_scaled_dot_product_flash_attention.default": rules.attended,
        "native_batch_norm.default": norms.batch_norm,
        "cudnn_batch_norm.default": norms.batch_norm,
        "native_layer_norm.default": norms.layer_norm,
        "native_group_norm.default": norms.group_norm,
        "_fused_rms_norm.default": norms.rms_norm,
        "_weight_norm_interface.default": norms.weight_norm,
        "relu.default": norms.relu,
        "_softmax.default": norms.softmax,
        "_safe_softmax.default": norms.softmax,
        "_log_softmax.default": norms.log_softmax,
        "gelu.default": norms.from_input(aten.gelu_backward.default),
        "silu.default": norms.from_input(aten.silu_backward.default),
        "tanh.default": norms.from_output(aten.tanh_backward.default),
        "sigmoid.default": norms.from_output(aten.sigmoid_backward.default),
    }
    found = {_overload(name): rule for name, rule in table.items()}
    return {op: rule for op, rule in found.items() if op is not None}


RULES = _rules()
"""Operation → rule. What is missing here is done by dual numbers."""

MOTIONLESS = frozenset(STILL.split())
"""Names of operations whose results have zero tangents whatever goes in."""
