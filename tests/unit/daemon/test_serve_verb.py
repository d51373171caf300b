"""`zlayer serve` (zlayer.cli.serve): what its options become."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from zlayer.cli import serve


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir")
    serve.register(parser)
    return parser.parse_args(argv)


def test_options_reach_the_daemon() -> None:
    args = parsed("--bind", ":0", "--runtime", "runc", "--node-name", "n1", "--log-level", "debug")
    options = serve.options_of(args)
    assert (options.bind, options.runtime, options.node_name) == (":0", "runc", "n1")
    assert (options.log_level, options.log_format) == ("debug", None)


def test_the_data_directory_is_the_given_one(tmp_path: Path) -> None:
    assert serve.paths_of(parsed("--data-dir", str(tmp_path))).root == tmp_path.resolve()


@pytest.mark.parametrize("argv", [("--runtime", "docker"), ("--log-format", "xml"), ("--daemonize",)])
def test_what_it_does_not_know_is_a_usage_error(argv: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*argv)
    assert caught.value.code == 2
