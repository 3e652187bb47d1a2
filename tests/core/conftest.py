"""For all tests of the core: torch's threads wait without spinning, as the `nerf` command has them do."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
