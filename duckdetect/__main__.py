"""`python -m duckdetect`."""

import sys

from duckdetect.cli.app import main

sys.exit(main())
