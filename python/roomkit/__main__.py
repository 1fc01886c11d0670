"""`python -m roomkit`: the same as `roomkit`."""

import sys

from roomkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
