"""What to write in place of an operator that a compiler does not take."""

from __future__ import annotations

_REWRITES = {
    "aten::embedding": "a one-hot matrix product (neuronkit.static.ops)",
    "aten::index_put_": "torch.where with a mask (neuronkit.static.ops)",
    "aten::index_put": "torch.where with a mask (neuronkit.static.ops)",
    "aten::copy_": "torch.where or torch.cat in place of writing into a slice (neuronkit.static.ops)",
    "aten::masked_select": "torch.where, keeping the full shape",
    "aten::index": "torch.where for a boolean mask, a one-hot matrix product for indices",
    "aten::gather": "a one-hot matrix product",
    "aten::scatter": "torch.where against a comparison with arange",
    "aten::scatter_": "torch.where against a comparison with arange",
    "aten::nonzero": "a mask of the full shape",
    "aten::upsample_bilinear2d": "two matrix products (neuronkit.static.ops)",
    "aten::grid_sampler": "a matrix product with the interpolation weights",
    "aten::pad": "torch.constant_pad_nd, for padding with a constant",
    "aten::hardswish_": "the module with inplace=False",
    "aten::dropout_": "the module with inplace=False",
    "aten::silu_": "the module with inplace=False",
    "aten::leaky_relu_": "the module with inplace=False",
    "aten::scaled_dot_product_attention": "the matrix products and softmax that it stands for",
    "aten::cumsum": "a product with a triangular matrix (neuronkit.static.ops)",
    "aten::one_hot": "a comparison with an int32 arange",
    "int64": "int32, cast inside the graph",
    "float64": "float32",
    "complex64": "real and imaginary parts as two real tensors",
    "complex128": "real and imaginary parts as two real tensors",
    "complex32": "real and imaginary parts as two real tensors",
}


def rewrite_of(kind: str) -> str:
    """What to write instead, empty where nothing is known."""
    if kind.startswith("aten::fft_"):
        return "the transform in pre-processing on the host"
    if kind.startswith("Tensor."):
        return "torch.where or a mask in place of the branch"
    return _REWRITES.get(kind, "")
