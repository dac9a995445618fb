import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kitsolve
from kitsolve.workspace import catalogue

PACKAGE = Path(kitsolve.__file__).parent
FLOORS = {
    "errors": 1,
    "metrics": 1,
    "inference": 1,
    "settings": 2,
    "config": 2,
    "hooks": 2,
    "recipe": 2,
    "workspace": 2,
    "provenance": 2,
    "kaggle": 2,
    "remote": 1,
    "transport": 2,
    "data": 3,
    "evaluation": 4,
    "pictures": 4,
    "proposing": 4,
    "training": 5,
    "display": 7,
    "doctor": 6,
    "reporting": 6,
    "submission": 6,
    "cli": 8,
    "__main__": 9,
}
ON_KAGGLE = {"torch", "torchvision", "timm", "numpy", "pandas", "cv2", "PIL", "safetensors", "pydicom"} | set(
    sys.stdlib_module_names
)
MODULES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if "competitions" not in path.parts and path.stem != "__init__"
]


def module_name(path: Path) -> str:
    return ".".join(["kitsolve", *path.relative_to(PACKAGE).with_suffix("").parts])


def imports_of(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            package = PACKAGE.parent.joinpath(*node.module.split(".")).is_dir()
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if package else {node.module}
    return names - {"__future__"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_lower_floors_or_its_own_folder(path):
    own = module_name(path).split(".")
    for name in imports_of(path):
        other = name.split(".")
        if other[0] == "kitsolve":
            lower = FLOORS[other[1]] < FLOORS[own[1]]
            assert lower or other[:-1] == own[:-1], f"{'.'.join(own)} imports {name}"


def test_no_module_imports_itself_through_others():
    graph = {module_name(path): {name for name in imports_of(path) if name.startswith("kitsolve.")} for path in MODULES}

    def reach(name, path):
        assert name not in path, f"circle: {' -> '.join([*path, name])}"
        for other in graph.get(name, ()):
            reach(other, [*path, name])

    for name in graph:
        reach(name, [])


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("inference/*.py")), ids=module_name)
def test_inference_imports_only_what_kaggle_has_and_itself(path):
    names = {name for name in imports_of(path) if not name.startswith("kitsolve.inference.")}
    assert {name.partition(".")[0] for name in names} <= ON_KAGGLE


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['kitsolve', '--help']\n"
        "from kitsolve.cli import main\n"
        "try: main()\n"
        "except SystemExit as error: assert not error.code\n"
        "heavy = {'torch', 'torchvision', 'timm', 'pandas', 'sklearn', 'numpy', 'cv2', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kitsolve run digits" in done.stdout


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "kaggle.py"], ids=module_name)
def test_only_one_module_talks_to_kaggle(path):
    assert not {name for name in imports_of(path) if name.partition(".")[0] in ("kaggle", "kagglesdk")}


def test_no_competition_is_wired_into_the_code():
    slugs = {path.parent.name for path in catalogue().glob("*/competition.toml")} - {"digits"}
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not [slug for slug in slugs if slug in text], path
