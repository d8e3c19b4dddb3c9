"""The main job: a manifest of questions about long videos in, a Parquet of answers out."""

import sys

from jobs.wiring.exit_codes import EXIT_FAILURES as EXIT_FAILURES
from jobs.wiring.exit_codes import EXIT_JOB as EXIT_JOB
from jobs.wiring.exit_codes import EXIT_OK as EXIT_OK
from jobs.wiring.exit_codes import EXIT_USAGE as EXIT_USAGE
from jobs.wiring.start import main as main

if __name__ == "__main__":
    sys.exit(main())
