r"""What is left when segment or train is killed at a random moment, and whether work goes on.

    python benchmarks/kills.py --kills 30
    python benchmarks/kills.py --kills 10 --command train

After each SIGKILL every file in the folder of the results must be whole. The same command, with
``--retry-failed`` or ``--resume``, is then run to its end, and must leave what an undisturbed run
leaves, to the byte.
"""

import argparse
import csv
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lungmask_jax import io, phantoms, weights

RUN = "import sys; from lungmask_jax.cli import main; sys.exit(main())"
SCANS = 3


def main() -> None:
    """Prints a line a kill, and the number that ended well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--command", choices=["segment", "train"], default="segment")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words, further = commands(options.command, scans(folder))
        whole = folder / "whole"
        seconds = run(words(whole))
        expected, good = contents(whole), 0
        for number in range(options.kills):
            out = folder / f"killed{number}"
            after = choose.uniform(0.4, 1.0) * seconds  # before that, packages are imported
            run(words(out), kill_after=after)
            broken = [path.name for path in sorted(out.glob("[!.]*")) if not is_whole(path)]
            left = sum(1 for _ in out.glob("[!.]*"))
            begun = options.command == "segment" or any(out.glob("*.checkpoint.npz"))
            run([*words(out), *(further if begun else ["--overwrite"])])
            same = contents(out) == expected
            good += same and not broken
            print(
                f"killed after {after:.1f} s: {left} files, {len(broken)} of them broken "
                f"{', '.join(broken)}; gone on: {'equal' if same else 'DIFFERENT'}",
                flush=True,
            )
            shutil.rmtree(out)
    print(f"{good} of {options.kills} ended well")
    sys.exit(good < options.kills)


def scans(folder: Path) -> Path:
    """Small phantoms and their masks."""
    for number in range(SCANS):
        made = phantoms.phantom((8, 64, 64), disease=0.2, seed=number)
        for kind, volume in (("ct", made.ct), ("masks", made.infection)):
            (folder / kind).mkdir(exist_ok=True)
            io.save(volume, folder / kind / f"case{number}.nii.gz")
    return folder


def commands(command: str, folder: Path):  # type: ignore[no-untyped-def]
    """The words of a run that writes to a folder, and those with which it goes on."""
    if command == "segment":
        return lambda out: ["segment", str(folder / "ct"), "-o", str(out)], ["--retry-failed"]
    fixed = ["train", "--images", str(folder / "ct"), "--masks", str(folder / "masks")]
    fixed += ["--channels", "4", "8", "--steps", "40", "--steps-per-epoch", "4"]
    fixed += ["--batch-size", "2", "--preprocess", "size=[32,32]", "region=full"]
    return lambda out: [*fixed, "-o", str(out / "mine.npz")], ["--resume"]


def run(words: Sequence[str], kill_after: float | None = None) -> float:
    """Seconds of a run, which must end well or be killed."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    else:
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {said.decode()}")
    return time.monotonic() - began


def is_whole(path: Path) -> bool:
    """Whether a file can be read to its end."""
    text = path.name
    if text.endswith(".nii.gz"):
        return io.load_mask(path).array.size > 0
    if text.endswith(".npz"):
        return "checkpoint" in text or bool(weights.load(path).checksum)
    if text.endswith(".json"):
        return bool(json.loads(path.read_text()))
    if text.endswith(".jsonl"):
        return all(json.loads(line) for line in path.read_text().splitlines())
    if text.endswith(".csv"):
        return len({len(row) for row in csv.reader(path.open())}) == 1
    return path.read_bytes().endswith(b"IEND\xaeB`\x82")


def contents(folder: Path) -> Mapping[str, str]:
    """Hashes of what a run leaves; a log and its curve hold times, which differ."""
    timed = (".jsonl", "mine.png", ".checkpoint.npz")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("[!.]*"))
        if not path.name.endswith(timed) and path.suffix != ".csv"
    } | {path.name: " ".join(sorted(path.read_text().split())) for path in folder.glob("*.csv")}


if __name__ == "__main__":
    main()
