"""The command that kills processes of a real job waits until that job is at work."""

import json
import os

from jobs.lab.chaos import _Job


def test_a_job_is_at_work_once_scorers_of_this_start_have_asked_for_some(tmp_path):
    job = _Job.__new__(_Job)  # starts nothing
    job.output, job._started_s = tmp_path, 1_000.0

    def write(run, *, num_scorers, written_s):
        record = tmp_path / "runs" / run / "progress.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"num_scorers": num_scorers}))
        os.utime(record, (written_s, written_s))

    assert not job.is_at_work()
    write("before-the-driver-was-killed", num_scorers=2, written_s=990.0)
    write("now", num_scorers=0, written_s=1_010.0)
    assert not job.is_at_work()
    write("now", num_scorers=1, written_s=1_020.0)
    assert job.is_at_work()
