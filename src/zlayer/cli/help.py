"""What `zlayer --help` prints. Loads the table of verbs and nothing else."""

from __future__ import annotations

from zlayer.cli.verbs import VERBS

EXAMPLES = """\
Containers from a deployment file, with one command.

  zlayer up                      start what the spec in this directory says, and follow it
  zlayer ps                      what runs
  zlayer logs -f web             follow one service
  zlayer exec -it web -- sh      a shell inside
  zlayer run --rm -it alpine sh  one container
  zlayer down                    take it away
"""

GLOBALS = """\
Options, before or after the verb:
  --data-dir DIR  the data directory, which names the daemon (ZLAYER_DATA_DIR)
  -v, --verbose   say more; errors show where they came from
  --no-color      no colours (also NO_COLOR)
  -h, --help      this, or the help of a verb
  --version       print the version
"""


def text() -> str:
    parts = [EXAMPLES]
    groups: dict[str, list[str]] = {}
    for name, (_, line, group) in VERBS.items():
        groups.setdefault(group, []).append(f"  {name:<12}{line}")
    parts += [f"{group}:\n" + "\n".join(lines) + "\n" for group, lines in groups.items()]
    parts.append(GLOBALS)
    parts.append("`zlayer VERB --help` explains one verb. Exit codes: docs/reference-cli.md.")
    return "\n".join(parts)
