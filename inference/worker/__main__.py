"""``python -m inference.worker``."""

import sys

from .command import main

sys.exit(main(sys.argv[1:]))
