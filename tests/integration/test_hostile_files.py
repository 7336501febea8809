"""Files with valid checksums that this package did not write: nothing is executed, nothing outside is written to.

tests/hostile_files.py draws them; `KSE_HOSTILE=1000 pytest tests/integration/test_hostile_files.py` draws more.
"""

import glob
import json
import os
import resource
import subprocess
import sys
import time

import pytest
from commands import finish
from harness import HERE, environment

from keras_session_ext import CheckpointCorrupt, ConfigError, callbacks_from_config, verify_checkpoint
from keras_session_ext.run import lineage

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("KSE_HOSTILE", "200"))


@pytest.mark.parametrize("engine", ["torch", "jax", "tensorflow"])
def test_trainings_are_started_on_them(engine, tmp_path):
    count = COUNT if engine == "torch" else COUNT // 5
    made = subprocess.run([sys.executable, os.path.join(HERE, "hostile_files.py"), str(tmp_path), "5", str(count)],
                          env=environment(engine), stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in made.stdout.decode().splitlines()]
    assert len(lines) > count * 0.9 and {"older", "as it says"} <= {line["outcome"] for line in lines}
    for line in lines:
        assert line["outcome"] in ("older", "as it says", "refused"), line
        assert not line["executed"] and not line["outside"], line
        assert line["megabytes"] < 64 and line["seconds"] < 60, line


def test_what_every_supported_keras_has_written_is_taken():
    """Or the schema would refuse what it is to let pass."""
    files = glob.glob(os.path.join(HERE, "families", "golden", "*.h5"))
    assert len(files) >= 40
    for path in files:
        lineage.read(path)


LARGE = """
import hashlib, resource, sys
from keras_session_ext import CheckpointCorrupt, verify_checkpoint
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    verify_checkpoint(sys.argv[1])
except CheckpointCorrupt as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def measured(path, limit=1 << 30):
    """Kilobytes more that a process takes for a file, and what it says."""
    began = time.monotonic()
    out = subprocess.run([sys.executable, "-c", LARGE, path, str(limit)], env=environment("jax"),
                         stdout=subprocess.PIPE, check=True).stdout.decode()
    assert time.monotonic() - began < 60
    more, _, said = out.partition(" ")
    return int(more), said


def line(block, text, rest):
    import hashlib

    return "KSESSION 0001 {:012d} {:012d} {}\n".format(block, len(text), hashlib.sha256(
        text + rest).hexdigest()).encode() + text


def test_a_header_of_very_many_values(tmp_path):
    path, block = str(tmp_path / "a.h5"), 1 << 26
    text = b'{"size_bytes": %d, "a": [' % (block + 4096) + b"{}," * 11_000_000 + b"{}]}"
    with open(path, "wb") as handle:
        rest = bytes(block - 105 - len(text))
        handle.write(line(block, text, rest) + rest + bytes(4096))
    more, said = measured(path)
    assert "takes too much memory" in said and more < 3 * (block >> 10) + (64 << 10), (more, said)


def test_a_file_of_a_terabyte_that_is_all_holes(tmp_path):
    path, text = str(tmp_path / "a.h5"), b"{}"
    with open(path, "wb") as handle:
        rest = bytes(4096 - 105 - len(text))
        handle.write(line(4096, text, rest) + rest)
        handle.truncate(1 << 40)
    more, said = measured(path)
    assert "the disk holds" in said and more < 64 << 10, (more, said)


def test_a_user_block_that_is_all_holes(tmp_path):
    path, text, block = str(tmp_path / "a.h5"), b"{}", 1 << 28
    with open(path, "wb") as handle:
        handle.write(line(block, text, bytes(block - 105 - len(text))))
        handle.truncate(block)
    more, said = measured(path)
    assert said and more < 64 << 10, (more, said)


@pytest.mark.parametrize("level", ["[{}]", "{{<<: [{}], z: 1}}"])
def test_aliases_that_repeat_one_another(tmp_path, level):
    path, lines = str(tmp_path / "a.yaml"), ["a0: &a0 " + ("[x]" if "<<" not in level else "{k: 1}")]
    for number in range(1, 12):
        lines.append("a{0}: &a{0} ".format(number) + level.format(", ".join(["*a{}".format(number - 1)] * 9)))
    with open(path, "w") as handle:
        handle.write("\n".join([*lines, "session: {directory: *a11}"]))
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="its aliases make [0-9]+ values of it"):
        callbacks_from_config(path)
    assert time.monotonic() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_the_commands_name_the_file(tmp_path):
    """Whatever a header says, a command ends with a status and a line, and no traceback."""
    sys.path.append(os.path.join(HERE, "contract"))
    from files_of_ours import with_fields

    with open(os.path.join(HERE, "families", "golden", "torch-fit.h5"), "rb") as handle:
        data = handle.read()
    for number, change in enumerate([
            {"created": "nan"}, {"created": 1e300}, {"branch_of": []}, {"parent": 5}, {"metrics": {"loss": []}},
            {"progress": {}}, {"generation": "1"}, {"session": []}, {"run": None}, {"reasons": "x"}]):
        folder = tmp_path / str(number) / "checkpoints"
        folder.mkdir(parents=True)
        path = folder / "g000001-s0000000001-0123abcd.h5"
        path.write_bytes(with_fields(data, lambda fields, change=change: dict(fields, **change)))
        for words in (["ls"], ["verify"], ["show"], ["prune", "--keep-last", "1"], ["diff", str(path)]):
            target = str(path) if words[0] in ("show", "diff") else str(folder.parent)
            status, out, err = finish([words[0], target, *words[1:]], tmp_path)
            assert "Traceback" not in out + err and (out + err).strip(), (change, words, out, err)
            assert status or words[0] in ("ls", "prune"), (change, words, out)
        with pytest.raises(CheckpointCorrupt, match="g000001-s0000000001-0123abcd"):
            lineage.read(str(path))
        with pytest.raises(CheckpointCorrupt, match="g000001-s0000000001-0123abcd"):
            verify_checkpoint(str(path))
