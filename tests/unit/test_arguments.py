"""Paths and URLs of stores wherever they are taken: what can be used is, all else is refused, and nothing is made."""

import os
import pathlib

import pytest
from click.testing import CliRunner

import keras_session_ext as kse
from keras_session_ext import urls
from keras_session_ext.arguments import local_path, path_or_url
from keras_session_ext.cli import main as cli
from keras_session_ext.config.effective_settings import effective_config

#: a run cannot live there -> what is said
REFUSED = {
    "hdfs://host:8020/run": "only behind s3://", "HDFS://host/run": "only behind s3://",
    "https+x.y-z://host/run": "only behind s3://", "sftp://host/run": "only behind s3://",
    "s3://": "names no folder", "s3://bucket": "names no folder", "gs://bucket/": "names no folder",
    "s3://bucket/a/../b": "'..'", "s3://bucket/./b": "'.'", "s3://bucket//b": "empty names", "az://c/a/..": "'..'",
    "s3://key:secret@bucket/run": "a password", "s3://user@bucket/run": "a password",
    "s3://bucket:80/run": "a password", "s3://bucket/run?X-Amz-Signature=geheim": "'?'", "gs://bucket/a#1": "'#'",
    "s3://bucket/a\nb": "control",
}
#: what is given -> what is meant
URLS = {
    "s3://bucket/run": "s3://bucket/run", "S3://bucket/run/": "s3://bucket/run", "gs://bucket/a/b": "gs://bucket/a/b",
    "abfs://container@account.dfs.core.windows.net/run": "abfs://container@account.dfs.core.windows.net/run",
    str(pathlib.PurePosixPath("s3://bucket/run")): "s3://bucket/run", "memory://run": "memory://run",
    "s3://bucket/ä b/100%/c+d": "s3://bucket/ä b/100%/c+d", "file:///runs/a": "/runs/a", "file:/runs/a": "/runs/a",
}
PATHS = ["runs/a", "C:/runs/a", "/s3://a", "./s3://a", "a b:c", "runs/a:b/c", "s3:", "~/runs", "1s3://a"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("use", [
    kse.list_checkpoints, kse.verify_checkpoint, kse.best_checkpoint, kse.run_id,
    lambda url: kse.restore_session(None, url), lambda url: kse.report(url, "a.html"),
    lambda url: kse.fetch_checkpoint(url, "a.h5"), lambda url: path_or_url(url, "directory")])
def test_functions_refuse(use, url):
    with pytest.raises(kse.ConfigError, match=REFUSED[url]) as raised:
        use(url)
    assert "geheim" not in str(raised.value) and "key:secret" not in str(raised.value)


@pytest.mark.parametrize("url", [url for url, why in REFUSED.items() if "only behind" in why])
@pytest.mark.parametrize("settings", [
    lambda url: {"directory": url}, lambda url: {"directory": "runs/a", "restore": url},
    lambda url: {"tensorboard": url}])
def test_configs_refuse(settings, url):
    with pytest.raises(kse.ConfigError, match=REFUSED[url]):
        effective_config(settings(url), env=False)


@pytest.mark.parametrize("arguments", [
    ["ls"], ["show"], ["log"], ["verify"], ["diff", "a"], ["prune", "--keep-last", "1"], ["export", "a"], ["report"],
    ["report", "runs/a", "-o"], ["doctor"], ["run", "-d"], ["show", "x", "-d"], ["prove", "--keep"]],
    ids=" ".join)
def test_commands_refuse(arguments):
    result = CliRunner().invoke(cli.commands, [*arguments, "hdfs://bucket/run"])
    assert result.exit_code == 2 and "only behind s3://" in result.output, result.output


@pytest.mark.parametrize("use", [
    lambda url: kse.save_session(None, url), lambda url: kse.report("runs/a", url),
    lambda url: kse.fetch_checkpoint("runs/a", url), lambda url: kse.SessionCheckpoint("runs/a", staging=url)])
def test_what_is_written_here_has_a_path(use):
    with pytest.raises(kse.ConfigError, match="on a file system of this machine"):
        use("s3://bucket/run")


@pytest.mark.parametrize("arguments", [["export", "a"], ["report", "runs/a", "-o"], ["prove", "--keep"]], ids=" ".join)
def test_commands_write_here(arguments):
    result = CliRunner().invoke(cli.commands, [*arguments, "s3://bucket/run"])
    assert result.exit_code == 2 and "on a file system of this machine" in result.output, result.output


@pytest.mark.parametrize("url", URLS)
def test_urls_are_taken(url):
    assert path_or_url(url, "directory") == path_or_url(pathlib.PurePosixPath(url), "directory") == URLS[url]
    assert urls.is_url(URLS[url]) != URLS[url].startswith("/")
    assert effective_config({"directory": url}, env=False)["directory"] == url


def test_secrets_are_left_out():
    text = urls.without_secrets(
        "GET http://h/b?X-Amz-Credential=AKIA&X-Amz-Signature=abc failed; AccountKey=geheim==; "
        "SecretAccessKey: geheim, https://me:geheim@host/x token=geheim")
    assert "geheim" not in text and "AKIA" not in text and "abc" not in text and "http://h/b?…" in text


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_paths(path):
    assert urls.problem(path) is None and not urls.is_url(path)
    assert local_path(path, "directory") == path
    assert path.startswith("./") or local_path(pathlib.PurePosixPath(path), "directory")


@pytest.mark.parametrize("value", ["", None, 5, b"runs", ["runs"]])
def test_what_is_no_path(value):
    with pytest.raises(kse.ConfigError, match="`log_dir`. Expected a path"):
        path_or_url(value, "log_dir")
