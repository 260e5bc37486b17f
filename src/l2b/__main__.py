"""Run the command line as `python -m l2b`."""

import sys

from l2b.cli import main

sys.exit(main())
