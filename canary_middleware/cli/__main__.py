"""``python -m canary_middleware.cli``."""

import sys

from canary_middleware.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
