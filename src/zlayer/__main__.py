"""`python -m zlayer`: the same as `zlayer`."""

from __future__ import annotations

import sys

from zlayer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
