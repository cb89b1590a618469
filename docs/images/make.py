"""Makes the pictures of README and docs: ``python docs/images/make.py``."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

import lungmask_jax as lj

HERE = Path(__file__).parent
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1440,1180",
)  # fmt: skip


def main() -> None:
    truth = lj.phantom((96, 384, 384), disease=0.2, seed=5)
    result = lj.segment(truth.ct)
    measured = result.measure()
    title = (
        f"Synthetic chest CT: lungs {measured['lungs_ml']:.0f} ml, infection "
        f"{measured['infection_percent']:.0f} %, {measured['severity']}"
    )
    lj.viz.save_png(result.overlay(title=title, count=9), HERE / "overlay.png")
    options = {"plain": True, "outline": True, "scale": True, "levels": True}
    figure = lj.viz.montage(result.ct, result.masks, count=6, columns=2, tile=300, **options)
    lj.viz.save_png(figure, HERE / "figure.png", dpi=300)
    save_screenshot(result.page(name="Synthetic chest CT"), HERE / "report.png")
    mild = lj.phantom((96, 256, 256), disease=0.05, seed=5)
    lj.viz.save_png(lj.viz.surface(truth_masks(mild), tile=400), HERE / "surface.png", dpi=300)
    save_screenshot(evaluation().page(name="small steps"), HERE / "evaluation.png")
    for name in ("figure.png", "report.png", "surface.png", "evaluation.png"):
        shrink(HERE / name)


def shrink(path: Path) -> None:
    """A picture of 256 colors, a third of the size; those of masks stay what they are."""
    own = [color for task in lj.tasks.registry.values() for color in task.colors.values()]
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256 - len(set(own)))
        few.putpalette([*few.getpalette(), *np.ravel(list(dict.fromkeys(own)))])
        dots = {name: value for name, value in picture.info.items() if name == "dpi"}
        small = picture.convert("RGB").quantize(palette=few, dither=Image.Dither.NONE)
        small.save(path, optimize=True, **dots)


def truth_masks(chest: lj.phantoms.Phantom) -> dict[str, lj.Volume]:
    """The masks of a phantom by task."""
    return {"lungs": chest.lungs, "infection": chest.infection}


def evaluation() -> lj.evaluation.Report:
    """Scores of masks that are moved at random, by more in the other model."""
    key, rows, others = np.random.default_rng(0), [], []
    for number in range(24):
        truth = lj.phantom((10, 96, 96), disease=0.25, seed=number).infection
        for some, most in ((rows, 2.0), (others, 3.0)):
            steps = np.rint(key.uniform(-most, most, 2)).astype(int)
            moved = truth.with_array(np.roll(truth.array, steps, axis=(1, 2)))
            some += lj.evaluation.case_rows(f"phantom {number}", moved, truth, "infection")
    return lj.evaluation.Report(rows, Path("large steps", "cases.csv"), others)


def save_screenshot(page: str, path: Path) -> None:
    """A picture of a page in Chromium, which is needed here alone."""
    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        driver.get(file.as_uri())
        ready = "return document.documentElement.dataset.loaded"
        WebDriverWait(driver, 60).until(lambda one: one.execute_script(ready))
        content = np.frombuffer(driver.get_screenshot_as_png(), np.uint8)
    driver.quit()
    picture = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    lj.viz.save_png(picture, path)


if __name__ == "__main__":
    main()
