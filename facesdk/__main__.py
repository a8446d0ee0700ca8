"""python -m facesdk."""

import sys

from facesdk.cli import main

sys.exit(main())
