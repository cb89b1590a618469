"""Size of the page of a scan, and how quickly it opens and scrolls in Chromium and Firefox.

    python benchmarks/pages.py                # a phantom of 300 x 512 x 512 with noise
    python benchmarks/pages.py a.html b.html

Browsers run without a display and open the file from disk, three times each; the fastest counts.
Chromium is driven by its driver, Firefox by WebDriver BiDi, which needs none. Scrolling draws all
three views anew for each slice and waits for the next picture of the screen. Processor seconds are
those of all processes of the browser.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import websocket
from selenium import webdriver

import lungmask_jax as lj

TIMES = 3
SHAPE = (300, 512, 512)
NOISE_HU = 20
SIZE = (1280, 900)
PORT = 9333
READY = "document.documentElement.dataset.loaded || ''"
TIMED = "['first', 'loaded'].map((what) => Number(document.documentElement.dataset[what]))"
SCROLL = """(async () => {
  const count = Math.min(100, data.shape[0]), start = performance.now();
  for (let slice = 0; slice < count; slice++) {
    go(0, slice);
    await new Promise(requestAnimationFrame);
  }
  return [count, (1000 * count) / (performance.now() - start)];
})()"""


class Browser(NamedTuple):
    """A browser that runs: how to open a file and to evaluate a script, and its processor time."""

    open: Callable[[str], Any]
    evaluate: Callable[[str], Any]
    seconds: Callable[[], float]


def main() -> None:
    """Prints a row for each page and browser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="*", help="pages of scans (default: a phantom's)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pages = options.pages or [phantom_page(Path(name, "phantom.html"))]
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
        heads = ("first view, s", "all slices, s", "cpu s", "slices a second", "cpu ms a slice")
        print("|", " | ".join(("page", "MB", "browser", *heads)), "|")
        print("|", " | ".join(["---"] * (3 + len(heads))), "|")
        for kind in (chromium, firefox):
            with kind(name) as browser:
                for page in pages:
                    print(row(page, kind.__name__, browser))


def phantom_page(path: Path) -> Path:
    """The page of a large phantom with noise, which JPEG cannot make small."""
    chest = lj.phantom(SHAPE, disease=0.2, seed=1)
    key = np.random.default_rng(0)
    noisy = np.stack(
        [one + key.normal(0, NOISE_HU, one.shape).round().astype(np.int16) for one in chest.ct]
    )
    masks = {"lungs": chest.lungs, "infection": chest.infection}
    values = {"scan": path.stem, **lj.quantify.measures(masks)}
    lj.report.write_page(path, lj.report.scan_page(chest.ct.with_array(noisy), masks, values))
    return path


def row(page: Path, name: str, browser: Browser) -> str:
    """The fastest of several times, as a line of the table."""
    tried = [opened(page, browser) for _ in range(TIMES)]
    first, loaded, seconds, rate, ms = np.array(tried).T
    return (
        f"| {page.stem} | {page.stat().st_size / 1e6:.1f} | {name} | {first.min() / 1000:.2f} | "
        f"{loaded.min() / 1000:.1f} | {seconds.min():.1f} | {rate.max():.0f} | {ms.min():.0f} |"
    )


def opened(page: Path, browser: Browser) -> tuple[float, ...]:
    """Ms until the first view and the last slice, cpu s; slices a second, cpu ms of a slice."""
    before = browser.seconds()
    browser.open(page.resolve().as_uri())
    while not browser.evaluate(READY):
        time.sleep(0.2)
    between = browser.seconds()
    first, loaded = browser.evaluate(TIMED)
    count, rate = browser.evaluate(SCROLL)
    ms = 1000 * (browser.seconds() - between) / count
    return first, loaded, between - before, rate, ms


@contextlib.contextmanager
def chromium(folder: str) -> Iterator[Browser]:
    """Chromium without a display."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    for option in ("--headless", "--no-sandbox", "--disable-gpu", size):
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    run = "const done = arguments[0]; Promise.resolve({}).then(done)"
    try:
        yield Browser(
            driver.get,
            lambda script: driver.execute_async_script(run.format(script)),
            lambda: tree_seconds(driver.service.process.pid),
        )
    finally:
        driver.quit()


@contextlib.contextmanager
def firefox(folder: str) -> Iterator[Browser]:
    """Firefox without a display."""
    command = [
        "firefox-esr", "--headless", "--no-remote", "--profile", tempfile.mkdtemp(dir=folder),
        "--remote-debugging-port", str(PORT),
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    try:
        send = session()
        context = send("browsingContext.getTree")["contexts"][0]["context"]
        size = {"width": SIZE[0], "height": SIZE[1]}
        send("browsingContext.setViewport", context=context, viewport=size)
        target = {"target": {"context": context}, "awaitPromise": True}
        yield Browser(
            lambda url: send("browsingContext.navigate", context=context, url=url, wait="complete"),
            lambda script: plain(send("script.evaluate", expression=script, **target)["result"]),
            lambda: tree_seconds(process.pid),
        )
    finally:
        process.terminate()
        process.wait()


def session() -> Callable[..., Any]:
    """Sends commands to the Firefox that has just been started, and returns their results."""
    for _ in range(200):
        with contextlib.suppress(OSError, websocket.WebSocketException):
            address = f"ws://127.0.0.1:{PORT}/session"
            socket = websocket.create_connection(address, timeout=300, suppress_origin=True)
            break
        time.sleep(0.3)

    def send(method: str, **params: Any) -> Any:
        socket.send(json.dumps({"id": 1, "method": method, "params": params}))
        while (answer := json.loads(socket.recv())).get("id") != 1:
            pass
        return answer["result"]

    send("session.new", capabilities={})
    return send


def plain(value: dict[str, Any]) -> Any:
    """A value of BiDi as one of Python."""
    return [plain(one) for one in value["value"]] if value["type"] == "array" else value["value"]


def tree_seconds(pid: int) -> float:
    """Processor seconds of a process and all that it started."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in processes)


if __name__ == "__main__":
    main()
