"""`python -m duckdetect.cli`."""

import sys

from duckdetect.cli import main

sys.exit(main())
