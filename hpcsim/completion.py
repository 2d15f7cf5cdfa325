"""Completion of the command line by a shell, from the parser: subcommands, options, and the names that they take.

argcomplete would start Python, which takes seconds here, at every press of the key; the script that is made here holds
the names.
"""

import argparse

BASH = """# Completion of hpcsim for {shell}, made by: hpcsim completion {shell}
# {place}
_hpcsim() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command= words= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${{COMP_WORDS[i]}} != -* ]]; then command=${{COMP_WORDS[i]}}; break; fi
    done
    COMPREPLY=()
    case $command:$prev in
{values}
        *) case $command:$cur in
{words}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ ${{COMPREPLY[0]}} == *= ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o bashdefault -o default -F _hpcsim hpcsim"""

PLACES = {
    "bash": "Write it to ~/.local/share/bash-completion/completions/hpcsim, or source it.",
    "zsh": "Write it to a file that ~/.zshrc sources.",
}
ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"


def script(parser: argparse.ArgumentParser, names: dict[str, list[str]], shell: str) -> str:
    """The script for bash or zsh.

    names : what an action completes, by its attribute `completes`; actions without it and without choices take files
    """
    subcommands = next(action.choices for action in parser._actions if isinstance(action.choices, dict))
    values, words = [], [_case(":-*", _options(parser)), _case(":*", subcommands)]
    for name, command in subcommands.items():
        for action in command._actions:
            if action.option_strings and action.nargs != 0:
                pattern = "|".join(f"{name}:{option}" for option in action.option_strings)
                values.append(_case(pattern, _taken(action, names)))
        positional = [
            word for action in command._actions if not action.option_strings for word in _taken(action, names)
        ]
        words += [_case(f"{name}:-*", _options(command)), _case(f"{name}:*", positional)]
    text = BASH.format(
        shell=shell, place=PLACES[shell], values="\n".join(values), words="\n".join(" " * 8 + word for word in words)
    )
    return ZSH * (shell == "zsh") + text


def _options(parser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


def _taken(action, names) -> list[str]:
    """The words that an argument may be; none where it is a file or free."""
    return list(action.choices or names.get(getattr(action, "completes", ""), ()))


def _case(pattern: str, words) -> str:
    return f'        {pattern}) words="{" ".join(words)}" ;;'
