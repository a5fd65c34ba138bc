"""Write the pages of the documentation that follow from the code: the commands, and the components of every kind.

``python tools/reference_pages.py docs/reference``; ``make docs`` does it first.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from metricforge.cli.parser import COMMANDS, build_command_parser
from metricforge.component_arguments import accepted_arguments
from metricforge.registry import KINDS

COMMANDS_HEAD = """# Commands

`metricforge COMMAND --help` prints the same. The exit status is 0 for success, 1 for an error that the command
explains on standard error, and 2 for arguments that it does not accept.
"""
COMPONENTS_HEAD = """# Components

Every `type=` that a config can name, with its arguments and their defaults. `num_classes`, `dim` and `feature_dim` are
filled in where a config leaves them out; a sampler gets labels, seed and its share of several processes from the run.
Components of the `pml` plug-in take the arguments that pytorch-metric-learning gives them; `metricforge plugins --all`
lists their names. Transforms are torchvision's v2 classes; optimizers, schedulers and hooks are those of PyTorch and
MMEngine, by their names.
"""
DESCRIBED_ELSEWHERE = ("pml.",)
FILLED_IN = {"sampler": {"labels", "groups", "seed", "rank", "world_size"}}  # what the framework hands over


def main() -> None:
    """Write both pages into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.md").write_text("\n".join([COMMANDS_HEAD, *commands()]))
    (folder / "components.md").write_text("\n".join([COMPONENTS_HEAD, *components()]))


def commands() -> Iterator[str]:
    """The sections of the command reference: one a command, and one a subcommand below it."""
    for name in COMMANDS:
        yield from section(build_command_parser(name, f"metricforge {name}"), level=2)


def section(parser: argparse.ArgumentParser, level: int, purpose: str | None = None) -> Iterator[str]:
    """Heading, purpose, usage and table of arguments of ``parser``, then the sections of its subcommands."""
    yield f"{'#' * level} {parser.prog}\n"
    description = parser.description or purpose
    if description:
        yield f"{description[0].upper()}{description[1:].rstrip('.')}.\n"
    subcommands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not subcommands:
        yield f"```text\n{usage(parser)}\n```\n"
    arguments = [action for action in parser._actions if action.dest != "help" and action not in subcommands]
    if arguments:
        yield "| argument | |\n|-|-|"
        yield from (row(parser, action) for action in sorted(arguments, key=lambda a: bool(a.option_strings)))
        yield ""
    for action in subcommands:
        helps = {choice.dest: choice.help for choice in action._choices_actions}
        for name, subparser in action.choices.items():
            yield from section(subparser, level + 1, helps.get(name))


def usage(parser: argparse.ArgumentParser) -> str:
    """How the command is typed, wrapped at 100 characters."""
    formatter = argparse.HelpFormatter(parser.prog, width=100)
    typed = [action for action in parser._actions if action.dest != "help"]
    formatter.add_usage(parser.usage, typed, parser._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """One argument: how it is typed, and its help with the default filled in."""
    formatter = argparse.HelpFormatter(parser.prog)
    default = action.dest.upper() if action.option_strings else action.dest
    values = "" if action.nargs == 0 else formatter._format_args(action, default)
    typed = f"{', '.join(action.option_strings)} {values}".strip()
    explained = formatter._expand_help(action) if action.help else ""
    return f"| `{cell(typed)}` | {cell(explained)} |"


def components() -> Iterator[str]:
    """The sections of the component reference: one a kind, and a table of its types."""
    for kind, registry in KINDS.items():
        if kind == "transform":
            continue
        yield f"## {kind[0].upper()}{kind[1:]}\n"
        yield "| `type=` | what it does | arguments |\n|-|-|-|"
        names = [name for name in registry.names() if not name.startswith(DESCRIBED_ELSEWHERE)]
        others = len(registry.names()) - len(names)
        for name in names:
            cls = registry.get(name)
            yield f"| `{name}` | {cell(first_sentence(cls))} | {arguments_of(cls, FILLED_IN.get(kind, set()))} |"
        if others:
            yield f"| `pml.<Name>` | {others} more from pytorch-metric-learning | |"
        yield ""


def first_sentence(cls: type) -> str:
    """What the docstring of ``cls`` begins with, as Markdown."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    end = next((i for i in range(len(text)) if text[i : i + 2] == ". " and text[i + 2].isupper()), len(text))
    return text[: end + 1].replace("``", "`")


def arguments_of(cls: type, filled_in: set[str]) -> str:
    """The constructor's arguments with their defaults, as a config gives them; without those ``filled_in``."""
    accepted = accepted_arguments(cls) or {}
    typed = [
        name if parameter.default is inspect.Parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in accepted.items()
        if name not in filled_in
    ]
    return ", ".join(f"`{cell(text)}`" for text in typed)


def cell(text: str) -> str:
    """``text`` as it stands in a cell of a table, where a bar would begin the next."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
