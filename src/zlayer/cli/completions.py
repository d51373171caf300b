"""`zlayer completions`: scripts that ask `zlayer` itself what can come next."""

from __future__ import annotations

import argparse

from zlayer.cli.screen import Screen

EXAMPLES = """
source <(zlayer completions bash)          now, in this shell
zlayer completions bash > /etc/bash_completion.d/zlayer
zlayer completions zsh > ~/.zfunc/_zlayer
zlayer completions fish > ~/.config/fish/completions/zlayer.fish
"""

BASH = """\
_zlayer() {
    local IFS=$'\\n'
    COMPREPLY=($(zlayer __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
    [[ ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}
complete -F _zlayer zlayer
"""

ZSH = """\
#compdef zlayer
_zlayer() {
    local -a found
    found=("${(@f)$(zlayer __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
if [[ "$funcstack[1]" == _zlayer ]]; then
    _zlayer "$@"
else
    compdef _zlayer zlayer
fi
"""

FISH = """\
function __zlayer_complete
    set -l words (commandline -opc) (commandline -ct)
    zlayer __complete $words[2..-1] 2>/dev/null
end
complete -c zlayer -a '(__zlayer_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="your shell")


def run(args: argparse.Namespace) -> int:
    Screen.of(args).data(SCRIPTS[args.shell].rstrip("\n"))
    return 0
