"""``python -m lungmask_jax`` is the command ``lungmask-jax``."""

import sys

from lungmask_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
