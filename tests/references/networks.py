"""Makes ``torch_networks.pth`` with PyTorch 2.13 and the networks' own packages.

Those are lungmask 0.2.22 and dynamic-network-architectures 0.4.4, of nnU-Net 2.8:
``python tests/references/networks.py``.
"""

from pathlib import Path

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from lungmask.resunet import UNet
from torch import nn

FLAT = {"conv_op": nn.Conv2d, "norm_op": nn.InstanceNorm2d, "kernel_sizes": [[3, 3]] * 3}
FLAT |= {"strides": [[1, 1], [2, 2], [2, 1]]}
DEEP = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d}
DEEP |= {"kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}
DEEP |= {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 1]]}
COMMON = {
    "input_channels": 2,
    "n_stages": 3,
    "features_per_stage": [2, 2, 4],
    "num_classes": 3,
    "n_conv_per_stage_decoder": [1, 2],
    "conv_bias": True,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}
PLAIN = {"n_conv_per_stage": [2, 1, 1]}
RESIDUAL = {"n_blocks_per_stage": [1, 1, 2]}
LUNGMASK = {"n_classes": 3, "padding": True, "batch_norm": True, "up_mode": "upsample"}

torch.manual_seed(0)
NETWORKS = {
    "lungmask_unet": (UNet(wf=1, depth=3, **LUNGMASK), (2, 1, 8, 12)),
    "plain_conv_unet 2": (PlainConvUNet(**COMMON, **FLAT, **PLAIN), (2, 2, 8, 6)),
    "plain_conv_unet 3": (PlainConvUNet(**COMMON, **DEEP, **PLAIN), (1, 2, 4, 8, 6)),
    "residual_encoder_unet 2": (ResidualEncoderUNet(**COMMON, **FLAT, **RESIDUAL), (2, 2, 8, 6)),
    "residual_encoder_unet 3": (
        ResidualEncoderUNet(**COMMON, **DEEP, **RESIDUAL),
        (1, 2, 4, 8, 6),
    ),
}


def reference(network, shape):
    """Random tensors, images, and what the network makes of them."""
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            is_norm = tensor.ndim == 1 and name.endswith("weight")
            tensor.normal_(float(is_norm), 0.3)
    images = torch.randn(shape)
    with torch.no_grad():
        logits = network.eval()(images)
    tensors = {name: each for name, each in network.state_dict().items() if not is_copy(name)}
    return {"tensors": tensors, "images": images, "logits": logits}


def is_copy(name):
    """Whether a tensor is unused, or there under another name; a few such are kept."""
    words = ("all_modules", ".encoder.", "residual_")
    kept = ("down_path.0", "decoder.encoder.stages.0", "decoder.stages.0")
    return any(word in name for word in words) and not name.startswith(kept)


if __name__ == "__main__":
    found = {name: reference(*network) for name, network in NETWORKS.items()}
    path = Path(__file__).with_name("torch_networks.pth")
    torch.save(found, path, _use_new_zipfile_serialization=False)  # half the size
