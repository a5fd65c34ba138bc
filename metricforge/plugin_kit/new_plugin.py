"""The folder of a new plug-in: package, entry point, test, config and README, from the template of its kind."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from metricforge.atomic_write import write_atomically
from metricforge.errors import PluginError
from metricforge.plugins import REGISTRIES, load_plugins
from metricforge.registration_checks import with_article
from metricforge.spelling import nearest
from metricforge.version import CONTRACT, __version__

TEMPLATES = Path(__file__).parent / "templates"
KINDS = tuple(sorted(path.name.removesuffix(".py.txt") for path in TEMPLATES.glob("*.py.txt")))
# what the template of a kind imports beside MetricForge
IMPORTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("backbone", "head", "similarity", "miner", "loss", "transform"), ("torch>=2.6",)),
    **dict.fromkeys(("evaluator", "sampler"), ("numpy>=1.26",)),
    "clustering": ("numpy>=1.26", "scikit-learn>=1.4"),
    "dataset": ("numpy>=1.26", "pillow>=10"),
    "hook": ("mmengine>=0.10.7",),
}
_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_ ]?[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class PluginNames:
    """What a plug-in's parts are called.

    Args:
        class_name: of the component, such as "ShopLoss": what ``type=`` in a config says.
        entry: of the entry point and the component's file, such as "shop_loss".
    """

    class_name: str
    entry: str

    @property
    def package(self) -> str:
        """The package, such as "metricforge_shop_loss"."""
        return f"metricforge_{self.entry}"

    @property
    def distribution(self) -> str:
        """What pip knows it by, such as "metricforge-shop-loss"."""
        return self.package.replace("_", "-")


def new_plugin(name: str, kind: str, parent: Path) -> Path:
    """Write the folder of a new plug-in into ``parent``, and return it.

    Args:
        name: of the component, "ShopLoss", "shop-loss" or "shop_loss".
        kind: "loss", "miner", ...: one of ``KINDS``.
        parent: where the folder is made.

    Raises:
        PluginError: for an unknown kind, a name that is no class's or that is taken, or a folder that exists.
    """
    if kind not in KINDS:
        raise PluginError(f'--kind: "{kind}" is not a kind of component{nearest(kind, KINDS)}')
    names = plugin_names(name)
    _check_is_free(names)
    folder = parent / names.distribution
    if folder.exists() or folder.is_symlink():
        raise PluginError(f"{folder} already exists; name another --out, or remove it first")
    try:
        for path, content in _files(names, kind).items():
            write_atomically(folder / path, content)
    except OSError as fault:
        raise PluginError(f"{folder} cannot be written ({fault}); name another --out") from fault
    return folder


def plugin_names(name: str) -> PluginNames:
    """What the parts of the plug-in ``name`` are called.

    Raises:
        PluginError: if no class can have this name.
    """
    if not name.isascii() or not _WORDS.fullmatch(name):
        raise PluginError(
            f"NAME: {name!r} must begin with a letter and have letters and digits only, with - or _ between words: "
            "ShopLoss, or shop-loss"
        )
    words = re.split(r"[-_ ]", name)
    class_name = "".join(word[0].upper() + word[1:] for word in words)
    entry = "_".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower() for word in words)
    if keyword.iskeyword(class_name) or keyword.iskeyword(entry):
        raise PluginError(f"NAME: {name!r} is a word of Python; take another")
    return PluginNames(class_name, entry)


def _check_is_free(names: PluginNames) -> None:
    load_plugins()
    for kind, registry in REGISTRIES.items():
        if names.class_name in registry:
            source = registry.source_of(names.class_name)
            raise PluginError(f"NAME: {names.class_name} is {with_article(kind)} of {source}; take another name")
    if find_spec(names.package) is not None:
        raise PluginError(f"NAME: a package {names.package} is installed; take another name")


def _files(names: PluginNames, kind: str) -> dict[str, str]:
    major, minor, *_ = __version__.split(".")
    noun = "data set" if kind == "dataset" else kind
    requires = [f"metricforge>={major}.{minor},<{major}.{int(minor) + 1}", *IMPORTS.get(kind, ())]
    values = {
        "class_name": names.class_name,
        "entry": names.entry,
        "package": names.package,
        "distribution": names.distribution,
        "a_kind": with_article(noun),
        "A_kind": with_article(noun).capitalize(),
        "contract": str(CONTRACT),
        "requires": ", ".join(f'"{each}"' for each in requires),
    }

    def filled(template: str) -> str:
        return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)

    return {
        "pyproject.toml": filled("pyproject.toml.txt"),
        "README.md": filled("README.md.txt"),
        f"{names.package}/__init__.py": filled("package.txt"),
        f"{names.package}/{names.entry}.py": filled(f"{kind}.py.txt"),
        f"{names.package}/configs/{names.entry}_glyphs.py": filled(f"{kind}.config.txt"),
        f"tests/test_{names.entry}.py": filled(f"{kind}.test.txt"),
    }
