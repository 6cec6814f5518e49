"""Files are replaced whole or not at all, and nothing is replaced that is no regular file."""

import os
import socket
import stat

import pytest
from parrot import QUICK, run

from pytest_bettertogether.pipeline.atomic import write_bytes, write_text


def fifo(path):
    os.mkfifo(path)


def unix_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null is
    except PermissionError:
        pytest.skip("only root may make a device")


def link_to_a_fifo(path):
    fifo(path.with_name("target"))
    path.symlink_to("target")


def kind(path):
    return stat.S_IFMT(path.lstat().st_mode)


SPECIAL = pytest.mark.parametrize("make", [fifo, unix_socket, device, link_to_a_fifo, lambda path: path.mkdir()])


@pytest.fixture(params=[0o022, 0o077, 0o027])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@SPECIAL
def test_what_is_no_regular_file_is_left_alone(tmp_path, make):
    path = tmp_path / "out.json"
    make(path)
    before = kind(path), sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="is no regular file, and only regular files are replaced"):
        write_text(path, "text")
    assert (kind(path), sorted(tmp_path.iterdir())) == before


@SPECIAL
def test_a_report_to_it_is_refused_before_anything_runs(suite, make):
    make(suite.path / "out.json")
    before = kind(suite.path / "out.json")
    result = run(suite, "--bt-gate=off", "--bt-report=json:out.json", *QUICK)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--bt-report: *out.json is *: name a*"])
    assert kind(suite.path / "out.json") == before
    assert not (suite.path / ".bettertogether").exists()


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("old")
    (tmp_path / "link").symlink_to("there/file")
    (tmp_path / "dangling").symlink_to("there/new")
    write_text(tmp_path / "link", "new")
    write_text(tmp_path / "dangling", "made")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert ((tmp_path / "there" / "file").read_text(), (tmp_path / "there" / "new").read_text()) == ("new", "made")


def test_a_new_file_has_the_umasks_mode_and_an_old_one_keeps_its_own(tmp_path, umask):
    write_bytes(tmp_path / "new", b"1")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask
    (tmp_path / "new").chmod(0o640)
    write_bytes(tmp_path / "new", b"2")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_reports_baselines_and_frozen_adapters_follow_the_umask(suite, umask):
    options = ("--bt-strategy=w", "--bt-update-baselines", "--bt-report=json:out.json", "--bt-export=frozen")
    run(suite, *options).assert_outcomes(passed=1)
    found = [suite.path / "out.json", *suite.path.glob("baselines/*.json"), *suite.path.glob("frozen/**/*.*")]
    files = [path for path in found if path.is_file()]
    assert {"out.json", "parity.json", "program.json", "adapter_model.safetensors"} <= {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
