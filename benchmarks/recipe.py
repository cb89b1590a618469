"""How the shipped models are trained: networks, settings, shares of the data sets, cards."""

from typing import Any

import pretrained

from lungmask_jax.spec import PRESETS, ModelSpec, TrainSpec, changed_steps
from lungmask_jax.tasks import INFECTION, LUNGS

SPECS = {
    "lungs": TrainSpec(
        steps=2400, batch_size=4, learning_rate=1.5e-3, opacities=0.4, gas=0.6, coarse=0.3
    ),
    "infection": TrainSpec(steps=2400, batch_size=4, learning_rate=1e-3, coarse=0.3),
}
SHARES = {  # of a batch, on average
    "lungs": {
        "lowres": 0.14,
        "lungsegdb": 0.07,
        "dicom": 0.08,
        "semiseg": 0.1,
        "phantom": 0.06,
        "lung_slices": 0.2,
        "exams": 0.08,
        "whole": 0.14,
        "empty": 0.13,
    },
    "infection": {
        "semiseg": 0.4,
        "exams": 0.4,
        "lung_slices": 0.09,
        "lowres": 0.05,
        "dicom": 0.03,
        "phantom": 0.03,
    },
}
MODELS = {
    "lungs": ModelSpec(name="efficient_unet"),
    "infection": ModelSpec(name="efficient_unet", options=pretrained.OPTIONS[2]),
}
PREPROCESS = dict(PRESETS)
POSTPROCESS = {
    # the network leaves bowel out by itself: on 11 whole CTs the rule takes at most 0.6 ml
    "lungs": tuple(step for step in LUNGS.postprocess if step[0] != "without_bowel"),
    # 0.4 was chosen after looking at held-out scores at 0.3 to 0.6; theory agrees: the threshold
    # that is best for Dice is half the Dice there is (Lipton et al., 2014, arXiv:1402.1892)
    "infection": changed_steps(INFECTION.postprocess, "threshold", at=0.4),
}
FOLDS = 5
TOLERANCE_MM = {"lungs": 1.0, "infection": 3.0}  # of the surface Dice, as in COVID-19-CT-Seg

_LICENSE = "non-commercial research use only, as the data it was trained on"
CARDS: dict[str, dict[str, Any]] = {
    "lungs": {
        "data": "208 slices of as many patients with lungs drawn by hand (K. Mader, Finding and "
        "Measuring Lungs in CT Data), 1,005 slices of 14 COVID-19 patients with lungs drawn by "
        "radiologists (COVID-19-CT-Seg, coronacases.org and Radiopaedia), cut out and whole, 3 "
        "low-resolution chest CTs (imlab-uiip/lung-segmentation-3d), 14 slices of LungSegDB, 12 "
        "slices of lung-cancer patients and 50 COVID-19 slices of COVID-SemiSeg with outlines "
        "derived from intensity (and infection labels), 115 slices without lung of abdomens and a "
        "neck (test files of TotalSegmentator, Lung-Fused-CT-Pathology), 12 synthetic volumes; the "
        "encoder before that from ImageNet (EfficientNet-Lite0)",
        "license": _LICENSE,
        "judged": "5-fold cross-validation over patients; of four recipes "
        "this one was chosen by what it did to whole CTs",
        "recipe": "python benchmarks/pretrained.py lungs --out start.npz; python benchmarks/"
        "train_weights.py train lungs --start start.npz --data DIR --out lungs.npz",
        "known_failures": "complete white-out of a lung; bowel with stool and gas beside the lung; "
        "lungs after resection; scans of animals",
    },
    "infection": {
        "data": "1,005 slices of 14 COVID-19 patients with infection drawn by radiologists "
        "(COVID-19-CT-Seg, coronacases.org and Radiopaedia), 50 labelled slices of COVID-SemiSeg "
        "(MedSeg set 1); as healthy examples 193 slices of as many patients (K. Mader, Finding and "
        "Measuring Lungs in CT Data), 3 low-resolution chest CTs and 14 slices of lung-cancer "
        "patients; 8 synthetic volumes; the encoder before that from ImageNet "
        "(EfficientNet-Lite2)",
        "license": _LICENSE,
        "judged": "5-fold cross-validation over patients, the network "
        "alone on slices cut out around the lungs",
        "recipe": "python benchmarks/pretrained.py infection --lite 2 --out start.npz; python "
        "benchmarks/train_weights.py train infection --start start.npz --data DIR "
        "--out infection.npz",
        "known_failures": "other diseases that look alike (tumour, oedema, other pneumonia, "
        "atelectasis) are called infection; vessels at the hilum; motion at the heart",
    },
}
