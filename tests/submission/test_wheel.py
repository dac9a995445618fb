import subprocess
import sys
import zipfile

import pytest
import timm

from kitsolve.errors import KitsolveError
from kitsolve.submission.wheel import pack_timm


def test_the_same_timm_gives_the_same_wheel(tmp_path):
    (tmp_path / "again").mkdir()
    one, other = (pack_timm(folder, trained_with=timm.__version__) for folder in (tmp_path, tmp_path / "again"))
    assert one.name == f"timm-{timm.__version__}-py3-none-any.whl"
    assert one.read_bytes() == other.read_bytes()
    assert not [name for name in zipfile.ZipFile(one).namelist() if name.startswith("/") or ".." in name]


def test_python_builds_a_model_with_the_timm_inside_of_the_wheel(tmp_path):
    wheel = pack_timm(tmp_path, trained_with=timm.__version__)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import timm; timm.create_model('test_vit'); print(timm.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(wheel)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(wheel))


def test_another_timm_than_the_one_that_trained_is_not_attached(tmp_path):
    with pytest.raises(KitsolveError, match=r"timm 0.9.1 trained this run") as caught:
        pack_timm(tmp_path, trained_with="0.9.1")
    assert "pip install timm==0.9.1" in caught.value.hint
