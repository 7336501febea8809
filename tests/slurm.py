"""A SLURM of one node, for tests: Debian's slurmctld, slurmd and munged, in a folder of its own; needs root."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ReturnToService=2
KillWait=10
JobRequeue=1
SchedulerParameters=bf_interval=1,sched_interval=1,requeue_delay=1
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    """Ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def stop(name, folder):
    """Ends a server by its own process id, and waits until it is gone."""
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(folder, name + ".pid")) as handle:
            pid = int(handle.read())
        os.kill(pid, 15)
        for number in range(200):
            time.sleep(0.1)
            os.kill(pid, 9 if number == 150 else 0)


@contextlib.contextmanager
def cluster(folder):
    """A running SLURM; yields the environment that its commands need."""
    lacking = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
    assert not lacking, "apt-get install slurm-wlm munge: there is no {}".format(", ".join(lacking))
    munge = os.path.join(folder, "munge")
    for name in ("state", "spool", "munge"):
        os.mkdir(os.path.join(folder, name), 0o700)
    with open(os.path.join(munge, "key"), "wb", opener=lambda path, flags: os.open(path, flags, 0o400)) as handle:
        handle.write(os.urandom(1024))
    config = os.path.join(folder, "slurm.conf")
    with open(config, "w") as handle:
        handle.write(CONFIG.format(host=socket.gethostname().split(".")[0], folder=folder, ports=free_ports(2)))
    environment = dict(os.environ, SLURM_CONF=config)
    commands = [["munged", "--force", "--key-file=" + munge + "/key", "--socket=" + munge + "/socket",
                 "--pid-file=" + folder + "/munged.pid", "--log-file=" + munge + "/log",
                 "--seed-file=" + munge + "/seed"],
                ["slurmctld", "-f", config], ["slurmd", "-f", config]]
    try:
        for command in commands:
            subprocess.run(command, check=True, env=environment, timeout=60)
        wait_for(lambda: "idle" in call(environment, "sinfo", "-h", "-o", "%t"), 60, "a node that is idle")
        yield environment
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            stop(name, folder)


def call(environment, *command):
    """What a command says; nothing where it fails."""
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return made.stdout.strip() if made.returncode == 0 else ""


def wait_for(question, seconds, what):
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, "there was not, within {} s: {}".format(seconds, what)
        time.sleep(0.2)
