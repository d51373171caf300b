"""What a command line may say about one start of a daemon; each given value wins over `config.toml`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from zlayer.daemon.config import Config
from zlayer.daemon.listen import parse_bind


@dataclass(frozen=True, slots=True)
class Options:
    """None: as the configuration says."""

    bind: str | None = None
    runtime: str | None = None
    node_name: str | None = None
    log_level: str | None = None
    log_format: str | None = None

    def over(self, config: Config) -> Config:
        """`config` with what was given. Raises `Invalid` on an address that is none."""
        given = {key: value for key, value in asdict(self).items() if value is not None and key != "bind"}
        if self.bind is not None:
            given["bind"] = parse_bind(self.bind)
        return replace(config, **given)

    def dump(self) -> str:
        """As JSON, without what is not given: how a detached daemon gets it."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})

    @classmethod
    def parse(cls, text: str) -> Options:
        return cls(**json.loads(text))
