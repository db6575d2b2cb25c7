"""`python -m duckdetect.cli`."""

import sys

from duckdetect.cli.app import main

sys.exit(main())
