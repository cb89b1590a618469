"""Writes ``losses.json``: what MONAI and segmentation-models-pytorch (smp) make of our inputs.

Run once, by hand, where both are installed: ``python tests/references/losses.py``. Tests read the
numbers and need neither.

Everything is set so that the definitions meet; where a default differs, a comment says how.
"""

import json
from pathlib import Path

import numpy as np

OF_VOLUMES = ["boundary", "cldice", "generalized_dice", "hausdorff_dt", "lovasz_hinge", "tversky"]


def inputs():
    """Logits and targets, channels last, few digits: what is stored is what was computed with."""
    generator = np.random.default_rng(0)
    row, column = np.mgrid[:12, :12]
    blobs = [
        (row - 5) ** 2 + (column - 4) ** 2 < 12,
        (row - 7) ** 2 + (column - 8) ** 2 < 6,
        (np.abs(row - column) < 2) & (row > 2),
        (row > 8) | (column == 3),
    ]
    targets = np.stack(blobs, axis=-1).reshape(12, 12, 2, 2).transpose(3, 0, 1, 2)
    depth, row, column = np.mgrid[:6, :7, :8]
    ball = (depth - 2) ** 2 + (row - 3) ** 2 + (column - 4) ** 2 < 7
    classes = (row[0, :, :] > 2).astype(int) + (column[0, :, :] > 4)
    soft = 0.1 + 0.7 * targets

    def noisy(mask, size):
        return np.round(2 * (2.0 * mask - 1) + generator.normal(0, size, mask.shape), 2)

    one_hot = np.eye(3)[np.stack([classes, classes[::-1]])]
    return {
        "channels": (noisy(targets, 2), targets * 1.0),
        "volume": (noisy(ball, 2)[None, ..., None], (ball * 1.0)[None, ..., None]),
        "soft": (noisy(soft, 2), soft),
        "classes": (noisy(one_hot, 2), one_hot),
    }


def first(array):
    """Channels first, as torch has them."""
    import torch

    return torch.tensor(np.moveaxis(array, -1, 1), dtype=torch.float32)


def of_images(loss, logits, targets):
    """A loss of whole batches, image by image."""
    return [float(loss(x[None], t[None])) for x, t in zip(logits, targets, strict=True)]


def of_channels(loss, logits, targets):
    """A loss of whole batches, for each image the mean over channels seen alone."""
    return [
        float(np.mean([float(loss(x[None, [c]], t[None, [c]])) for c in range(len(x))]))
        for x, t in zip(logits, targets, strict=True)
    ]


def sigmoid_losses(logits, targets):
    import segmentation_models_pytorch as smp
    import torch
    from monai import losses

    monai = {"sigmoid": True, "reduction": "mean"}
    sums = {"smooth_nr": 1.0, "smooth_dr": 1.0, **monai}
    three = torch.tensor(3.0)
    channels = {
        "bce": smp.losses.SoftBCEWithLogitsLoss(),
        "weighted_bce:positive_weight=3": smp.losses.SoftBCEWithLogitsLoss(pos_weight=three),
        "dice": losses.DiceLoss(**sums),
        "dice:squared=true": losses.DiceLoss(squared_pred=True, **sums),
        "dice:smooth=0.25": losses.DiceLoss(sigmoid=True, smooth_nr=0.25, smooth_dr=0.25),
        # there both sums are doubled, and so must the smoothing be
        "jaccard": losses.DiceLoss(jaccard=True, sigmoid=True, smooth_nr=2.0, smooth_dr=2.0),
        "tversky": losses.TverskyLoss(alpha=0.3, beta=0.7, **sums),
        # there a denominator gets 1e-4 unless told otherwise
        "cldice": losses.SoftclDiceLoss(sigmoid=True, smooth=1e-12),
        "cldice:iterations=1": losses.SoftclDiceLoss(iter_=1, sigmoid=True, smooth=1e-12),
    }
    found = {name: of_channels(loss, logits, targets) for name, loss in channels.items()}
    # sigmoids: one channel and its background are two classes of a softmax
    generalized = losses.GeneralizedDiceLoss(softmax=True, smooth_nr=0.0, smooth_dr=1e-12)
    found["generalized_dice"] = of_channels(
        lambda x, t: generalized(torch.cat([0 * x, x], 1), torch.cat([1 - t, t], 1)),
        logits,
        targets,
    )
    return found


def hard_losses(logits, targets):
    """Those that the peers define for masks alone, or for soft targets in another way."""
    import segmentation_models_pytorch as smp
    from monai import losses
    from monai.transforms.utils import distance_transform_edt

    def boundary(x, t):
        # neither has this loss: the formula, on MONAI's distance transform
        signed = distance_transform_edt(1 - t[0]) - distance_transform_edt(t[0])
        return (signed[None] * (x.sigmoid() - t)).mean()

    sums = {"sigmoid": True, "smooth_nr": 1.0, "smooth_dr": 1.0}
    channels = {
        "focal": losses.FocalLoss(gamma=2.0),
        "focal:gamma=0.5,alpha=0.25": losses.FocalLoss(gamma=0.5, alpha=0.25),
        "dice_focal": losses.DiceFocalLoss(gamma=2.0, **sums),
        # there the power is the exponent itself, 1 / gamma here; the overlap of soft targets with
        # probabilities is not their product but (p + t - |p - t|) / 2
        "focal_tversky": smp.losses.TverskyLoss(
            "multilabel", from_logits=True, smooth=1.0, alpha=0.3, beta=0.7, gamma=0.75
        ),
        "lovasz_hinge": smp.losses.LovaszLoss("binary", per_image=True),
        "boundary": boundary,
        "hausdorff_dt": losses.HausdorffDTLoss(sigmoid=True),
        "hausdorff_dt:alpha=1.5": losses.HausdorffDTLoss(alpha=1.5, sigmoid=True),
    }
    return {name: of_channels(loss, logits, targets) for name, loss in channels.items()}


def softmax_losses(logits, targets):
    import segmentation_models_pytorch as smp
    import torch
    from monai import losses

    weights = torch.tensor([1.0, 2.0, 5.0])
    entropy = torch.nn.CrossEntropyLoss
    options = {"softmax": True, "smooth_nr": 1.0, "smooth_dr": 1.0}
    lovasz = smp.losses.LovaszLoss("multiclass", per_image=True)
    images = {
        # with shares as targets torch divides by the pixels, with indices by their weights
        "cross_entropy": entropy(),
        "cross_entropy:class_weights=[1,2,5]": entropy(weight=weights),
        "dice_cross_entropy": losses.DiceCELoss(**options),
        "lovasz_softmax": lambda x, t: lovasz(x, t.argmax(1)),
    }
    return {name: of_images(loss, logits, targets) for name, loss in images.items()}


def main():
    import monai
    import segmentation_models_pytorch as smp
    import torch

    kinds = {
        "channels": [sigmoid_losses, hard_losses],
        "volume": [sigmoid_losses, hard_losses],
        "soft": [sigmoid_losses],
        "classes": [softmax_losses],
    }
    cases = {}
    for name, (logits, targets) in inputs().items():
        losses = {}
        for compute in kinds[name]:
            found = compute(first(logits), first(targets))
            losses |= {
                call: found[call] for call in found if name != "volume" or call in OF_VOLUMES
            }
        cases[name] = {
            "shape": logits.shape,
            "logits": logits.ravel().tolist(),
            "targets": np.round(targets, 2).ravel().tolist(),
            "losses": losses,
        }
    versions = f"MONAI {monai.__version__}, smp {smp.__version__}, torch {torch.__version__}"
    stored = {"origin": f"tests/references/losses.py with {versions}", "cases": cases}
    Path(__file__).with_suffix(".json").write_text(json.dumps(stored))


if __name__ == "__main__":
    main()
