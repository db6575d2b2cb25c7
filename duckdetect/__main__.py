"""`python -m duckdetect`."""

import sys

from duckdetect.cli import main

sys.exit(main())
