"""Puts the job back into the queue of the scheduler that it runs under: SLURM, by `scontrol requeue`.

https://slurm.schedmd.com/scontrol.html, https://slurm.schedmd.com/sbatch.html (output environment variables)
"""

import os
import subprocess
from typing import Mapping, Optional

#: a controller that does not answer by then is told of, and training goes on
_LIMIT_SECONDS = 60


def job_id(environment: Mapping[str, str]) -> Optional[str]:
    """The job as scontrol calls it; one task of an array goes back alone.

    Examples:
        >>> job_id({"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}), job_id({})
        ('7_1', None)
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return "{}_{}".format(array, task) if array and task else environment.get("SLURM_JOB_ID") or None


def requeue() -> str:
    """Asks SLURM to start the job again; it ends the processes of the job soon after.

    Returns:
        What has become of it, for the user.
    """
    job = job_id(os.environ)
    if job is None:
        return "nothing is requeued: this is no SLURM job (there is no SLURM_JOB_ID)"
    try:
        made = subprocess.run(["scontrol", "requeue", job],  # noqa: S603, S607 (no shell; the cluster's own scontrol)
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=_LIMIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return "job {} is not requeued: scontrol cannot be run ({})".format(job, error)
    if made.returncode:
        return "job {} is not requeued: scontrol says {!r}".format(job, made.stdout.decode(errors="replace").strip())
    return "job {} is requeued".format(job)
