"""What a step frees is kept for the next one, where the C library can: fresh pages counted in another process."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource
import numpy as np
from nerf_core.gan.allocator import keep_freed_memory

def step():
    arrays = [np.empty(1 << 20, dtype=np.float64) for _ in range(5)]  # 8 MiB each
    for array in arrays:
        array.fill(1.0)

kept = keep_freed_memory()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(json.dumps([kept, (after - before) * resource.getpagesize()]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the module resource is not there")
def test_arrays_of_a_later_step_need_no_fresh_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    kept, fresh = json.loads(done.stdout)
    if not kept:
        pytest.skip("the C library does not know how")
    assert fresh < 40 << 20  # ten steps write 400 MiB
