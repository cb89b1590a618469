"""The command line: ``lungmask-jax segment``, ``train``, ``evaluate``, ``demo`` and more.

Arguments are parsed before anything heavy is imported. This is the only module that prints, exits
or configures JAX.
"""

import argparse
import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lungmask_jax.cli import _border, _options

__all__ = ["main"]

_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1  # numbers of glibc's malloc.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Words after the program's name; by default those of the process.

    Returns:
        The exit code: 0 if all went well, 1 if a scan or a setting was wrong, 130 after Ctrl-C and
        143 after SIGTERM. Invalid words end the process with 2, as in argparse.

    Example:
        >>> main(["segment", "nowhere.nii.gz", "-o", "out"])  # doctest: +SKIP
        1
    """
    options = _options.parsed(sys.argv[1:] if arguments is None else [*arguments])
    with _border.bordered(quiet=options.quiet):
        try:
            _configure(options)
            code = _COMMANDS[options.command](options)
            sys.stdout.flush()  # here a pipe that nobody reads is noticed
            return code
        except SystemExit:  # of the parser
            raise
        except BaseException as error:  # nobody is above: a traceback helps no user
            return _border.exit_code(error, debug=options.debug)


def _run_segment(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _segment

    return _segment.run(options)


def _run_inspect(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _inspect

    return _inspect.run(options)


def _run_collect(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _collect

    return _collect.run(options)


def _run_report(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _report

    return _report.run(options)


def _run_train(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _train

    return _train.run(options)


def _run_evaluate(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _evaluate, _protocol

    return _protocol.run(options) if options.protocol else _evaluate.run(options)


def _run_import(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _import

    return _import.run(options)


def _run_demo(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _demo

    return _demo.run(options)


def _run_discovery(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _discover

    run = {
        "models": _discover.list_models,
        "weights": _discover.list_weights,
        "doctor": _discover.doctor,
    }[options.command]
    return run(options)


def _run_info(options: argparse.Namespace) -> int:
    from lungmask_jax.cli import _info

    return _info.completion(options) if options.command == "completion" else _info.info(options)


_COMMANDS = {
    "segment": _run_segment,
    "inspect": _run_inspect,
    "collect": _run_collect,
    "report": _run_report,
    "train": _run_train,
    "evaluate": _run_evaluate,
    "import": _run_import,
    "demo": _run_demo,
    "models": _run_discovery,
    "weights": _run_discovery,
    "doctor": _run_discovery,
    "info": _run_info,
    "completion": _run_info,
}


def _configure(options: argparse.Namespace) -> None:
    """Sets the configuration that JAX and the memory allocator read when they start."""
    _cache_compilations()
    _keep_memory()
    if options.devices:
        _divide(options.devices)
    if options.device:
        from lungmask_jax.cli import _device

        _device.choose(options.device)


def _divide(devices: int) -> None:
    """Without GPUs, processor cores share each batch."""
    cores = min(devices, os.cpu_count() or 1)
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if cores > 1 and not told and "jax" not in sys.modules:  # which reads it when it starts
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))


def _cache_compilations() -> None:
    """Keeps compiled programs on disk, so that the next start is faster."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(home) / "lungmask-jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def _keep_memory() -> None:
    """One pool of memory for all threads, which keeps what is freed for what comes next.

    With a pool each, glibc keeps what each has freed. And it would hand every large array back to
    the system, which clears each page before the next network sees it.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)  # never
