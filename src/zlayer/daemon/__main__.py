"""`python -m zlayer.daemon DATA_DIR FD OPTIONS`: the detached daemon itself, started by `detach.start` only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zlayer.daemon.detach import Told
from zlayer.daemon.options import Options
from zlayer.daemon.serve import run
from zlayer.model.errors import ZlayerError
from zlayer.model.paths import Paths


def main(argv: list[str]) -> int:
    root, descriptor, options = argv
    os.set_inheritable(int(descriptor), False)  # no container's monitor may keep the pipe open
    told = Told(int(descriptor))
    try:
        run(Paths.of(Path(root)), Options.parse(options), on_ready=told.ready, foreground=False)
    except ZlayerError as error:
        told.failed(error)
        print(f"zlayer daemon: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
