from __future__ import annotations

import pytest

from zlayer.cli import daemon, exec, image, parsing, ps, run  # noqa: A004  # the verb is called so


def test_options_not_given_to_an_action_keep_what_was_given_before_it() -> None:
    args = parsing.parse("image", image, ["--data-dir", "/d", "ls", "--no-color"])
    assert (args.data_dir, args.no_color, args.verbose) == ("/d", True, 0)


def test_an_action_is_needed() -> None:
    with pytest.raises(SystemExit) as stop:
        parsing.parse("daemon", daemon, [])
    assert stop.value.code == 2


def test_volume_takes_dash_v_from_verbose() -> None:
    args = parsing.parse("run", run, ["--verbose", "-v", "/a:/b", "img", "ls", "-v"])
    assert args.verbose == 1
    assert args.volume == [{"target": "/b", "readonly": False, "source": "/a"}]
    assert (args.image, args.command) == ("img", ["ls", "-v"])


def test_examples_come_right_after_the_first_line() -> None:
    text = parsing.described("ps", ps)
    assert text.splitlines()[:3] == [
        "List deployments and services, or containers with -c.",
        "",
        "examples:",
    ]


@pytest.mark.parametrize(
    "argv", [["-r", "2", "web", "--", "ls", "-l"], ["web", "-r", "2", "--", "ls", "-l"], ["-r", "2", "web", "ls", "-l"]]
)
def test_exec_takes_its_options_on_either_side_of_the_service(argv: list[str]) -> None:
    args = parsing.parse("exec", exec, argv)
    assert (args.service, args.replica, args.command) == ("web", 2, ["ls", "-l"])


def test_exec_wants_a_command() -> None:
    for argv in (["web"], ["web", "--"]):
        with pytest.raises(SystemExit) as stop:
            parsing.parse("exec", exec, argv)
        assert stop.value.code == 2


def test_help_is_as_wide_as_the_terminal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, parsing.build("ps", ps).format_usage().splitlines())) <= 60
