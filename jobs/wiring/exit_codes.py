"""What the exit codes of all commands mean; a run that a signal ended has 128 plus its number (130, 143)."""

EXIT_OK, EXIT_JOB, EXIT_USAGE, EXIT_FAILURES = 0, 1, 2, 3
