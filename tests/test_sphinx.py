"""The documentation builds without warnings, is read without a network, and has an entry for every public name."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import dualmcmc

ROOT = Path(__file__).parent.parent
PUBLIC_NAMES = """config cost data densities drawing extras features inputs langevin levels masks methods
methods.diffusion metrics networks noise noise_space paths presets sampling scoring settings storage.pretrained
storage.run_folder tasks.generation tasks.inpainting tasks.interpolation tasks.linear tasks.ood tasks.others
tasks.plan tasks.reconstruction tasks.reference tasks.revision tasks.running tasks.setting teaching teaching.abp
teaching.amortized teaching.augment teaching.base teaching.buffer teaching.cooperative teaching.data_noise
teaching.divergence_triangle teaching.dual_mcmc teaching.from_noise teaching.hat teaching.improved_cd teaching.jem
teaching.losses teaching.mmd teaching.no_mcmc teaching.persistent teaching.rae teaching.recovery_likelihood
teaching.short_run teaching.vae teaching.vaebm teaching.wae toys trio"""
"""What docs/api/index.md calls public: what a program, or a method of one's own, is written with."""
INTERNAL_NAMES = """__main__ allocator app calls cli compare compiling counting data. devices doctor errors
features. figures fitting graphs limits methods.chain methods.energies methods.guided methods.latent metrics.
model networks. npy parallel pictures pieces precision rate reading report reproduce sharing spectral stopwatch
storage tasks toy_family toy_figures training"""
"""No part of it, with all below that is not public; with a dot at the end, what is below alone.

What `dualmcmc` itself offers of `errors`, `model` and `training` is public under that name.
"""
PUBLIC = ["dualmcmc", *(f"dualmcmc.{name}" for name in PUBLIC_NAMES.split())]
INTERNAL = [f"dualmcmc.{name}" for name in INTERNAL_NAMES.split()]


class Page(HTMLParser):
    """Places that a page leads to, what it loads by itself, and the places that it has."""

    LOADING = ("script", "img", "source", "iframe")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in self.LOADING and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and "href" in given and given.get("rel") != "canonical":
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documentation; a warning fails the build, as in `make docs`."""
    out = tmp_path_factory.mktemp("site")
    options = ["--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    places = [str(ROOT / "docs"), str(out / "html"), "--doctree-dir", str(out / "doctrees")]
    built = subprocess.run([sys.executable, "-m", "sphinx", *options, *places], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def documented(site: Path) -> set[str]:
    """Names of Python objects in the inventory: four lines of head, then compressed lines `name py:kind ...`."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return set(re.findall(r"(?m)^(\S+) py:", zlib.decompress(packed).decode()))


def modules() -> list[str]:
    return [found.name for found in pkgutil.walk_packages(dualmcmc.__path__, "dualmcmc.")]


def names_of(module: ModuleType) -> Iterator[tuple[str, object]]:
    """What `__all__` names; else the functions and classes that it defines, without a leading underscore."""
    if hasattr(module, "__all__"):
        yield from ((name, getattr(module, name)) for name in module.__all__)
        return
    for name, found in vars(module).items():
        own = (inspect.isclass(found) or inspect.isfunction(found)) and found.__module__ == module.__name__
        if own and not name.startswith("_"):
            yield name, found


def members_of(kind: type) -> Iterator[str]:
    """Methods and properties that a class defines, without a leading underscore."""
    for name, found in vars(kind).items():
        written = inspect.isfunction(found) or isinstance(found, property | classmethod | staticmethod)
        if written and not name.startswith("_"):
            yield name


def test_every_module_is_public_or_internal() -> None:
    """A new module is one or the other, by a line above; the public ones exist."""
    for name in modules():
        inside = any(name == i or name.startswith(f"{i.rstrip('.')}.") for i in INTERNAL)
        assert name in PUBLIC or inside, f"{name}: is it public? Say so in this file, and in docs/api/ if it is"
    assert set(PUBLIC) <= {"dualmcmc", *modules()}


def test_every_public_name_has_an_entry(site: Path) -> None:
    """Under the module that offers it, or where it is defined; methods and properties of classes, too."""
    entries, lost = documented(site), []
    for module_name in PUBLIC:
        for name, found in names_of(import_module(module_name)):
            if isinstance(found, ModuleType):
                assert found.__name__ in PUBLIC, found.__name__
                continue
            offered = [m for m in PUBLIC if vars(import_module(m)).get(name) is found]
            home = f"{getattr(found, '__module__', module_name)}.{getattr(found, '__qualname__', name)}"
            places = {home, f"{module_name}.{name}", *(f"{m}.{name}" for m in offered)}
            if not places & entries:
                lost.append(f"{module_name}.{name}")
            if inspect.isclass(found) and found.__module__.startswith("dualmcmc."):
                lost += [f"{home}.{m}" for m in members_of(found) if not {f"{p}.{m}" for p in places} & entries]
    assert len(entries) > 500
    assert not lost, "docs/api/ or docs/methods/ lacks:\n" + "\n".join(sorted(set(lost)))


def test_no_link_within_the_documentation_is_broken(site: Path, pages: dict[Path, Page]) -> None:
    """Neither its file nor its anchor."""
    broken, followed = [], 0
    for path, page in pages.items():
        for link in page.links + page.loaded:
            place, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:|//", link):
                continue
            target = (path.parent / unquote(place.partition("?")[0])).resolve() if place else path
            followed += 1
            known = pages.get(target)
            there = not anchor or known is None or unquote(anchor) in known.places
            if not target.is_file() or not there:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert followed > 1000
    assert not broken, "\n".join(broken)


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """No script, style, font or picture by a network: the site reads the same without one."""
    assert len(pages) > 40
    for path, page in pages.items():
        for link in page.loaded:
            assert not re.match(r"[a-z]+:|//", link) or link.startswith("data:"), (path, link)
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path
