"""lungmask with weights made by hand or by chance: what `foreign.py` runs beside us.

    python benchmarks/peer_lungmask_weights.py make FOLDER FEATURES
    python benchmarks/peer_lungmask_weights.py segment WEIGHTS... SCAN MASK

``make`` writes state_dicts for lungmask's own network, with so many features in its first level: 64
as it was published, fewer to be quick. ``lungs`` and ``lobes`` are those of `made_weights`,
``random`` has random numbers everywhere. ``segment`` runs lungmask's own program and prints
processor seconds by stage as JSON; a second file of weights is the one that fills. Beside the mask
it leaves what its rules were given, ``MASK.npz``.
"""

import json
import logging
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from lungmask import mask, utils
from lungmask.resunet import UNet
from made_weights import LOGITS, tensors


def make(folder: Path, features: int) -> None:
    """Writes the state_dicts, with all that those of lungmask hold."""
    for name, logits in LOGITS.items():
        model = network(len(logits), features)
        found = {key: torch.from_numpy(array) for key, array in tensors(name, features).items()}
        model.load_state_dict({**model.state_dict(), **found})
        torch.save(model.state_dict(), folder / f"{name}.pth")
    torch.save(by_chance(3, features), folder / "random.pth")


def network(classes: int, features: int) -> UNet:
    """The network of lungmask, with the same random numbers each time."""
    torch.manual_seed(0)
    return UNet(
        n_classes=classes,
        wf=features.bit_length() - 1,
        padding=True,
        depth=5,
        up_mode="upsample",
        batch_norm=True,
        residual=False,
    ).eval()


def by_chance(classes: int, features: int) -> dict[str, torch.Tensor]:
    """Random numbers; no class is likelier than another in a picture of blots."""
    model = network(classes, features)
    for norm in (layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(0, 0.2)
        norm.running_var.uniform_(0.02, 0.2)
    blots = torch.nn.functional.interpolate(torch.rand(1, 1, 24, 24), (256, 256), mode="bicubic")
    seen: list[torch.Tensor] = []
    model.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(blots)
        model.last.bias -= model.last(seen[0]).mean(dim=(0, 2, 3))
    return model.state_dict()


def segment(weights: list[str], scan: str, out: str) -> None:
    """Runs lungmask, and prints what took how long."""
    logging.disable(logging.CRITICAL)
    seconds: dict[str, float] = defaultdict(float)
    mask.get_model = loaded
    given: list[np.ndarray] = []
    utils.postprocessing = kept(utils.postprocessing, given)
    for home, name in ((utils, "preprocess"), (utils, "postprocessing"), (UNet, "forward")):
        setattr(home, name, timed(getattr(home, name), name, seconds))
    fill = {"fillmodel": "fill", "fillmodel_path": weights[1]} if weights[1:] else {}
    inferer = mask.LMInferer(
        modelpath=weights[0], force_cpu=True, tqdm_disable=True, batch_size=4, **fill
    )
    began = time.process_time()
    image = SimpleITK.ReadImage(scan)
    found = SimpleITK.GetImageFromArray(inferer.apply(image))
    seconds["all"] = time.process_time() - began
    found.CopyInformation(image)
    SimpleITK.WriteImage(found, out, True)
    np.savez(f"{out}.npz", *given)
    print(json.dumps(seconds))


def loaded(_name: str, path: str) -> UNet:
    """As lungmask loads it, but of as many features as the file has."""
    found = torch.load(path, map_location="cpu")
    model = network(len([*found.values()][-1]), len(found["down_path.0.block.0.bias"]))
    model.load_state_dict(found)
    return model


def kept(function, given):
    """The function, whose first values are kept."""

    def run(labels, *values, **named):
        given.append(labels.copy())
        return function(labels, *values, **named)

    return run


def timed(function, name, seconds):
    """The function, whose processor time is added up."""

    def run(*values, **named):
        began = time.process_time()
        try:
            return function(*values, **named)
        finally:
            seconds[name] += time.process_time() - began

    return run


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "make":
        make(Path(words[0]), int(words[1]))
    else:
        segment(words[:-2], *words[-2:])
