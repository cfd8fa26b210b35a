"""`python -m fireproof` is the command `fireproof`."""

import sys

from fireproof.cli import main

if __name__ == "__main__":
    sys.exit(main())
