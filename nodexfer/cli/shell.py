"""Lines for a shell to eval: variables to export, and a failure that stops a script.

sh     eval "$(nodexfer acquire)"              ``(exit 33)`` stops a script under ``set -e``
csh    eval "`nodexfer acquire --shell csh`"   stops at a failing command only with -e: a script is made to exit
fish   eval (nodexfer acquire --shell fish)    has no such mode: a script is made to exit (``| source`` only fails)
"""

from __future__ import annotations

from collections.abc import Mapping

SHELLS = ("sh", "csh", "fish")


def evaluation(shell: str, command: str) -> str:
    """What to type so that the shell evaluates what ``command`` prints."""
    form = {"sh": 'eval "$({})"', "csh": 'eval "`{} --shell csh`"', "fish": "eval ({} --shell fish)"}[shell]
    return form.format(command)


def exports(shell: str, values: Mapping[str, str]) -> str:
    """One line that sets and exports ``values`` (csh's command substitution turns line ends into blanks)."""
    form = {"sh": "export {}={};", "csh": "setenv {} {};", "fish": "set -gx {} {};"}[shell]
    return " ".join(form.format(name, quote(shell, value)) for name, value in values.items())


def failure(shell: str, code: int) -> str:
    """What makes a script that evaluates it end with ``code``, and leaves an interactive shell alone."""
    return {
        "sh": f"(exit {code})",
        # csh(1): prompt is set in interactive shells only.
        "csh": f"if (! $?prompt) exit {code}; (exit {code})",
        "fish": f'if status is-interactive; sh -c "exit {code}"; else; exit {code}; end',
    }[shell]


def quote(shell: str, text: str) -> str:
    """``text`` as one word that the shell takes literally, whatever is in it but a NUL."""
    if shell == "fish":  # fish(1), Quotes: in single quotes, only \\\\ and \\' are escapes
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    quoted = "'" + text.replace("'", "'\\''") + "'"
    if shell == "csh":  # csh(1), History substitutions: ! acts within quotes too; a line end has to be escaped
        quoted = quoted.replace("!", "\\!").replace("\n", "\\\n")
    return quoted
