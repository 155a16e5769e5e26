"""`python -m palm`."""

import sys

from palm.cli.main import main

if __name__ == "__main__":  # the processes of a sweep import this file under another name
    sys.exit(main())
