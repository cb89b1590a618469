"""lungmask as a whole program with random weights: what `end_to_end.py` runs beside us.

    python benchmarks/peer_lungmask.py SCAN MASK

The network is lungmask's own, its weights are random, which is as fast as learned ones. Its answer
is thrown away and lungmask's post-processing gets lung-like labels: what is dark and not at the
border.
"""

import sys

import numpy as np
import SimpleITK
import torch
from lungmask import mask
from lungmask.resunet import UNet
from scipy import ndimage


class Timed(torch.nn.Module):
    """Runs the network, answers with a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(
            n_classes=3, padding=True, depth=5, up_mode="upsample", batch_norm=True, residual=False
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, 1, H, W)`` in [0, 1] to ``(N, 3, H, W)``: background, right, left."""
        self.unet(images)
        lungs = np.stack([dark(image) for image in images[:, 0].cpu().numpy()])
        right = np.arange(lungs.shape[-1]) < lungs.shape[-1] // 2
        answers = np.stack([~lungs, lungs & right, lungs & ~right], axis=1)
        return torch.from_numpy(answers.astype(np.float32)).to(images.device)


def dark(image: np.ndarray) -> np.ndarray:
    """What lies below -400 HU and does not reach the border."""
    parts, _ = ndimage.label(image < 0.385)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return (parts > 0) & ~np.isin(parts, edge)


def main() -> None:
    """Reads, segments, writes, as lungmask's own command does."""
    scan, out = sys.argv[1:]
    mask.get_model = lambda *_: Timed().eval()
    image = SimpleITK.ReadImage(scan)
    found = SimpleITK.GetImageFromArray(mask.LMInferer(modelpath="random").apply(image))
    found.CopyInformation(image)
    SimpleITK.WriteImage(found, out, True)


if __name__ == "__main__":
    main()
