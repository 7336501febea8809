"""URLs of stores are refused wherever a path is taken, and nothing is made under their names."""

import os
import pathlib

import pytest
from click.testing import CliRunner

import keras_session_ext as kse
from keras_session_ext.arguments import local_path, url_problem
from keras_session_ext.cli import main as cli
from keras_session_ext.config.effective_settings import effective_config

URLS = ["s3://bucket/run", "gs://bucket/run", "abfs://container@account/run.h5", "HDFS://host:8020/run", "file:///run",
        "https+x.y-z://host/run", str(pathlib.PurePosixPath("s3://bucket/run"))]
PATHS = ["runs/a", "C:/runs/a", "/s3://a", "./s3://a", "a b:c", "runs/a:b/c", "s3:", "~/runs", "1s3://a"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("use", [
    kse.list_checkpoints, kse.verify_checkpoint, lambda url: kse.restore_session(None, url),
    lambda url: kse.save_session(None, url), lambda url: kse.report("runs/a", url),
    lambda url: kse.report(url, "a.html"),
    lambda url: effective_config({"directory": url}, env=False),
    lambda url: effective_config({"directory": "runs/a", "restore": url}, env=False),
    lambda url: effective_config({"tensorboard": url}, env=False),
    lambda url: effective_config({"directory": "runs/a"}, overrides=["directory=" + url], env=False)])
def test_functions_and_configs(use, url):
    with pytest.raises(kse.ConfigError, match="not supported yet: name a folder"):
        use(url)


@pytest.mark.parametrize("arguments", [
    ["ls"], ["show"], ["log"], ["verify"], ["diff", "a"], ["prune", "--keep-last", "1"], ["export", "a"], ["report"],
    ["report", "runs/a", "-o"], ["doctor"], ["run", "-d"], ["show", "x", "-d"], ["prove", "--keep"]],
    ids=" ".join)
def test_commands(arguments):
    result = CliRunner().invoke(cli.commands, [*arguments, "s3://bucket/run"])
    assert result.exit_code == 2 and "not supported yet" in result.output, result.output


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_paths(path):
    assert url_problem(path) is None
    assert local_path(path, "directory") == path
    assert path.startswith("./") or local_path(pathlib.PurePosixPath(path), "directory")


@pytest.mark.parametrize("value", ["", None, 5, b"runs", ["runs"]])
def test_what_is_no_path(value):
    with pytest.raises(kse.ConfigError, match="`log_dir`. Expected a path"):
        local_path(value, "log_dir")
