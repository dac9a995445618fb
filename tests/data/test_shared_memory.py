import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.data.shared_memory import HELD, USED_SHARE, free_shared_memory, plan_loading
from kitsolve.errors import KitsolveError


@given(
    batch=st.integers(1, 10**8), workers=st.integers(0, 16), free=st.one_of(st.just(math.inf), st.integers(0, 10**10))
)
def test_what_is_read_ahead_fits_into_shared_memory(batch, workers, free):
    if workers and (HELD + 1) * batch > USED_SHARE * free:
        with pytest.raises(KitsolveError) as caught:
            plan_loading(batch, workers, free=free)
        assert "--shm-size" in caught.value.hint
        assert "--workers 0" in caught.value.hint
        return
    count, ahead = plan_loading(batch, workers, free=free)
    assert count <= workers
    assert 1 <= ahead <= 4
    assert not count or (count * ahead + HELD) * batch <= USED_SHARE * free
    if free >= 100 * batch + 100 or free == math.inf:
        assert (count, ahead) == (workers, 4)


@pytest.mark.parametrize(("workers", "plan"), [(2, (2, 3)), (4, (4, 1)), (8, (7, 1)), (0, (0, 4))])
def test_dockers_64_mb_suffice_for_some_batches_of_32_images_of_256_px(workers, plan):
    assert plan_loading(32 * 256 * 256 * 3, workers, free=64 * 2**20) == plan


def test_a_system_without_a_limit_has_room_for_all(monkeypatch):
    monkeypatch.setattr("kitsolve.data.shared_memory.FOLDER", "/nowhere/at/all")
    assert free_shared_memory() == math.inf
