"""The `zlayer` command: one file per verb, loaded when that verb is asked for; drawing stands apart in `render`.

A verb module has `register(parser)`, `run(args) -> int` and `EXAMPLES`. What it prints on stdout is data; progress,
notes and questions go to stderr. Imports `client`, `spec` and `model` only (`serve`, `doctor` and `tokens` alone
reach the daemon, inside a function), and nothing heavy at the top of a file: `zlayer ps` as a whole may take 60 ms.
"""
