"""``python -m readingroom.cli`` is ``readingroom``."""

import sys

from readingroom.cli.main import main

sys.exit(main())
