"""Makes ``lungmask_masks.npz`` with lungmask 0.2.22, PyTorch 2.13 and weights made by hand.

Run it with ``PYTHONPATH=benchmarks python tests/references/lungmask_masks.py``. Scans, labels and
weights are made of random whole numbers, here and in the tests.
"""

from pathlib import Path

import numpy as np

FEATURES = 4
SHAPES = {"several": (14, 72, 90), "single": (1, 130, 140)}


def scan(shape):
    """A body with two lungs and blots in them, in air, as int16."""
    depth, height, width = shape
    z, y, x = np.ogrid[:depth, -1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fade = 1 - 0.3 * np.abs(z / max(depth - 1, 1) - 0.5)
    body = (x / 0.9) ** 2 + (y / 0.7) ** 2 < fade
    lungs = ((np.abs(x) - 0.42) / 0.28) ** 2 + (y / 0.48) ** 2 < fade
    hu = np.where(body, np.where(lungs, -800, 40), -1000) + blots(shape, 1, 90)[0] // 60
    return hu.astype(np.int16)


def labels(shape, count, seed):
    """Labels 0 to `count` in ragged regions, with nothing around.

    At the edge between the first slice and the first row lungmask fills some holes that are open.
    """
    ragged = blots(shape, count + 1, 40, seed).argmax(axis=0).astype(np.uint8)
    around = (int(shape[0] > 1),) * 2
    return np.pad(ragged, (around, (1, 1), (1, 1)))


def blots(shape, count, strength, seed=0):
    """Random whole numbers, summed over neighbors."""
    noise = np.random.default_rng(seed).integers(-strength, strength, (count, *shape))
    for axis in (1, 2, 3):
        for _ in range(2):
            noise = noise + np.roll(noise, 1, axis)
    return noise


def regions():
    """Labels for the rules alone, and one of them that is to be filled."""
    yield "two", labels((10, 30, 34), 2, 1), 0
    yield "five", labels((12, 40, 36), 5, 2), 0
    yield "spare", labels((12, 40, 36), 5, 3), 5
    yield "single", labels((1, 60, 70), 3, 4), 0


def main():
    import SimpleITK
    import torch
    from lungmask import mask, utils
    from made_weights import LOGITS, tensors
    from peer_lungmask_weights import network

    def model(name, _path=None):
        made = network(len(LOGITS[name]), FEATURES)
        numbers = {key: torch.from_numpy(one) for key, one in tensors(name, FEATURES).items()}
        made.load_state_dict({**made.state_dict(), **numbers})
        return made

    mask.MODEL_URLS |= dict.fromkeys(LOGITS)
    mask.get_model = model
    found = {}
    for kind, shape in SHAPES.items():
        image = SimpleITK.GetImageFromArray(scan(shape))
        for name, fill in (("lungs", None), ("lobes", None), ("lobes", "lungs")):
            inferer = mask.LMInferer(name, fillmodel=fill, force_cpu=True, tqdm_disable=True)
            found[f"{kind} {fill or ''}{name}"] = inferer.apply(image)
        _, boxes = utils.preprocess(scan(shape), [256, 256])
        found[f"{kind} boxes"] = np.array(boxes)[:, [0, 2, 1, 3]]
    for name, array, spare in regions():
        found[f"regions {name}"] = utils.postprocessing(array, [spare] * (spare > 0), True)
    path = Path(__file__).with_name("lungmask_masks.npz")
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    main()
