"""``python -m mircourse``: the command line."""

import sys

from mircourse.cli import main

if __name__ == "__main__":
    sys.exit(main())
