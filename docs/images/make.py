"""Makes the pictures of README and docs: ``python docs/images/make.py``."""

from pathlib import Path

import lungmask_jax as lj

HERE = Path(__file__).parent


def main() -> None:
    truth = lj.phantom((96, 384, 384), disease=0.2, seed=5)
    result = lj.segment(truth.ct)
    measured = result.measure()
    title = (
        f"Synthetic chest CT: lungs {measured['lungs_ml']:.0f} ml, infection "
        f"{measured['infection_percent']:.0f} %, {measured['severity']}"
    )
    lj.viz.save_png(result.overlay(title=title, count=9), HERE / "overlay.png")


if __name__ == "__main__":
    main()
