"""`python -m dualmcmc` is the command `dualmcmc`."""

import sys

from dualmcmc.cli import main

if __name__ == "__main__":
    sys.exit(main())
