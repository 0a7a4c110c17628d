"""How fast and how exact: this engine beside its peers, on the same data in the same run.

``python -m benchmarks --help`` lists the commands; `README.md` explains what is measured and how.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # takes effect because this runs before numpy is imported
