"""`python -m palm`."""

import sys

from palm.cli.main import main

sys.exit(main())
