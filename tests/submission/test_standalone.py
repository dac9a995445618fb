import ast
import subprocess
import sys
from collections import Counter

from kitsolve.submission.standalone import MODULES, inference_file, inference_parts
from kitsolve.workspace import PACKAGE


def names_of(part):
    """What a part defines at its top level."""
    for node in ast.parse(part).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets)


def test_every_module_is_carried():
    assert sorted(MODULES) == sorted(path.stem for path in (PACKAGE / "inference").glob("*.py") if path.stem[0] != "_")


def test_the_parts_are_the_modules_but_for_their_imports_of_each_other():
    for name, part in zip(MODULES, inference_parts(), strict=True):
        whole = (PACKAGE / "inference" / f"{name}.py").read_text().splitlines()
        gone = Counter(whole) - Counter(part.splitlines())
        imported = [line for line in gone if line and not line.startswith(("from __future__", "from kitsolve."))]
        assert all(line.startswith("    ") or line == ")" for line in imported), imported
        assert not Counter(part.splitlines()) - Counter(whole)


def test_no_two_parts_give_the_same_name():
    seen = Counter(name for part in inference_parts() for name in names_of(part))
    assert not [name for name, count in seen.items() if count > 1]


def test_together_they_are_a_file_that_runs_without_kitsolve(tmp_path):
    alone = tmp_path / "kitsolve_inference.py"
    alone.write_text(inference_file())
    done = subprocess.run([sys.executable, alone, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--bundle" in done.stdout
