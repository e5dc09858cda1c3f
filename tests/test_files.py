# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that are replaced: completely or not at all, by several threads, on a full disk."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastntk
from fastntk._support import files
from fastntk._support.files import regular_file, replacing, reserve
from fastntk.kernels.block_loop import BlockLoop

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
X = np.random.default_rng(0).standard_normal((400, 4))
NET = fastntk.MLP([4, 8, 1])


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write(path, "old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def fail(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        temporary.with_name("beside").write_text("what a writer leaves")
        raise KeyboardInterrupt


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(KeyboardInterrupt):
        fail(path)
    assert list(tmp_path.iterdir()) == []
    write(path, "old")
    with pytest.raises(KeyboardInterrupt):
        fail(path)
    assert path.read_text() == "old"
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        pass
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]
    write(path, "the next writer does not wait")


KILLED = """
import os, signal, sys
from fastntk._support.files import replacing

with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.parent.name, flush=True)
    if "wait" in sys.argv:
        sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path: Path) -> Path:
    """Return the directory that a writer leaves who is killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9
    left = path.parent / done.stdout.strip()
    assert (left / path.name).read_text() == "half"
    return left


@posix
def test_what_a_killed_writer_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "a.b.txt"
    write(path, "old")
    left = killed_writer(path)
    assert path.read_text() == "old"
    write(tmp_path / "a.txt", "another file")
    assert left.exists()
    write(path, "new")
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "a.txt"]
    assert path.read_text() == "new"


@posix
def test_what_a_living_writer_has_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        left = tmp_path / process.stdout.readline().strip()
        write(path, "new")
        assert (left / "a.txt").read_text() == "half"
        process.communicate("\n", timeout=60)
    assert left.exists()
    write(path, "newer")
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_what_only_looks_like_a_left_directory_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    kept = [tmp_path / name for name in (".a-abcdefgh", ".a.fastntk-abc", "a.fastntk-abcdefgh")]
    for folder in kept:
        folder.mkdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "text").write_text("x")
    link = tmp_path / ".a.fastntk-abcdefgh"
    link.symlink_to(precious)
    (tmp_path / ".a.fastntk-12345678").write_text("a file")
    write(path, "new")
    assert len(list(tmp_path.iterdir())) == len(kept) + 4
    assert (precious / "text").read_text() == "x"


@posix
def test_a_directory_that_is_taken_away_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    lock, ways = files._lock, ["removed", "locked", "removed after"]

    def meddled(folder: Path) -> int | None:
        way = ways.pop() if ways else ""
        if way == "removed":
            folder.rmdir()
        if way == "locked":
            folder.rmdir()
            raise BlockingIOError
        result = lock(folder)
        if way == "removed after":
            folder.rmdir()
        return result

    monkeypatch.setattr(files, "_lock", meddled)
    write(path, "new")
    assert ways == []
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_systems_and_disks_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    left = tmp_path / ".a.fastntk-abcdefgh"
    left.mkdir()
    monkeypatch.setattr(files, "_lock", lambda _: None)
    write(path, "new")
    assert sorted(tmp_path.iterdir()) == [left, path]
    monkeypatch.undo()
    monkeypatch.setattr(files, "fcntl", None)
    write(path, "newer")
    assert sorted(tmp_path.iterdir()) == [left, path]


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("κ" * 120 + ".txt")
    write(path, "long")
    assert path.read_text() == "long"


@posix
def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    old = os.umask(0o027)
    try:
        write(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o664, 0o444):
            path.chmod(mode)
            write(path, f"{mode}")
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert path.read_text() == f"{mode}"
    finally:
        os.umask(old)


@posix
def test_links_stay_and_what_they_point_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "a.txt", tmp_path / "link.txt"
    link.symlink_to(Path("disk", "a.txt"))
    for text in ("first", "second"):  # the link dangles at first
        write(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "disk", target, link]
    loop = tmp_path / "loop.txt"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match=r"loop\.txt"):
        write(loop, "nowhere")
    assert loop.is_symlink()


@posix
def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    path = tmp_path / "a.txt"
    for name in (f".a-{os.getpid()}.txt", ".a.txt"):
        (tmp_path / name).symlink_to(victim)
    with replacing(path) as temporary:
        assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
        temporary.write_text("new")
    assert victim.read_text() == "mine"


@posix
def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    for name in ("pipe.npy", "folder.npy"):
        with pytest.raises(OSError, match=rf"expected a regular file, or none: '.*{name}'"):
            NET.ntk(X, out=str(tmp_path / name))
        with pytest.raises(ValueError, match="expected a regular file"):
            regular_file(tmp_path / name, "path")
    assert {p.name for p in tmp_path.iterdir()} == {"pipe.npy", "folder.npy"}


def test_errors_of_the_system_begin_with_the_argument(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        regular_file(tmp_path / "none", "store")
    assert caught.value.strerror == f"store: {os.strerror(errno.ENOENT)}"
    assert caught.value.filename == str(tmp_path / "none")

    def fail(number: int, name: str | None) -> OSError:
        try:
            with replacing(tmp_path / "a", "out") as temporary:
                place = None if name is None else str(temporary.parent / name)
                raise OSError(number, "no luck", place)
        except OSError as error:
            return error

    for number, name in ((errno.EACCES, "b"), (errno.ENOSPC, None)):
        error = fail(number, name)
        assert (error.strerror, error.filename) == ("out: no luck", str(tmp_path / "a"))
    # What is about something else is left as it is.
    assert fail(errno.EACCES, None).strerror == "no luck"
    assert not list(tmp_path.iterdir())


def test_threads_that_write_the_same_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / "link.txt").symlink_to(path)
    inside: list[int] = []
    errors: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for _ in range(20):
                with replacing(path if me % 2 else tmp_path / "link.txt") as temporary:
                    inside.append(me)
                    temporary.write_text(str(me) * 1000)
                    assert inside == [me]
                    inside.pop()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert path.read_text() in {str(me) * 1000 for me in range(4)}
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "link.txt"}


def test_a_thread_does_not_wait_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    message = r"a\.txt' is being written by this thread already"
    with pytest.raises(RuntimeError, match=message), replacing(path):
        write(path, "inner")
    write(path, "later")
    assert path.read_text() == "later"


def test_other_files_do_not_wait(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
        other = threading.Thread(target=write, args=(tmp_path / "b.txt", "b"))
        other.start()
        other.join(60)
        assert not other.is_alive()
    assert (tmp_path / "b.txt").read_text() == "b"


def test_kernels_and_networks_from_several_threads(tmp_path: Path) -> None:
    nets = [fastntk.MLP([4, 8, 1], seed=seed) for seed in range(4)]
    kernels = [net.ntk(X) for net in nets]
    errors: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for _ in range(10):
                # What is returned is the kernel of this call, whoever writes after it.
                K = nets[me].ntk(X, out=str(tmp_path / "k.npy"), overwrite=True)
                assert np.array_equal(K, kernels[me])
                assert isinstance(K, np.memmap)
                assert K.filename == str(tmp_path / "k.npy")
                nets[me].save(tmp_path / "n.npz")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    K = np.load(tmp_path / "k.npy")
    assert any(np.array_equal(K, kernel) for kernel in kernels)
    loaded = fastntk.MLP.load(tmp_path / "n.npz")
    assert any(np.array_equal(loaded(X), net(X)) for net in nets)
    assert {p.name for p in tmp_path.iterdir()} == {"k.npy", "n.npz"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_does_not_wait_for_threads_that_it_does_not_have(tmp_path: Path) -> None:
    # A program of its own: to fork this one, with the threads it has, would be a risk.
    program = """
import os, sys, threading, warnings
from pathlib import Path
from fastntk._support.files import replacing
warnings.simplefilter("ignore")
path, begun, end = Path(sys.argv[1]), threading.Event(), threading.Event()
def hold():
    with replacing(path) as temporary:
        begun.set()
        end.wait()
        temporary.write_text("parent")
thread = threading.Thread(target=hold)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    with replacing(path) as temporary:
        temporary.write_text("child")
    os._exit(0)
print(os.waitpid(child, 0)[1], path.read_text())
end.set()
thread.join()
print(path.read_text())
"""
    path = str(tmp_path / "a.txt")
    result = subprocess.run(
        [sys.executable, "-c", program, path],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.split() == ["0", "child", "parent"], result.stderr


@pytest.mark.parametrize("why", ["no such call", "not on this file system"])
def test_room_is_made_by_writing_where_it_cannot_be_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def unsupported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    if why == "no such call":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    monkeypatch.setattr(files, "_STEP", 1000)
    with (tmp_path / "a").open("w+b") as file:
        file.write(b"head")
        reserve(file, 5500)
    assert (tmp_path / "a").read_bytes() == b"head" + bytes(5496)
    assert np.array_equal(NET.ntk(X, out=str(tmp_path / "k.npy")), NET.ntk(X))


# Runs in a process of its own, whose files may not grow beyond a size, or in a full file system.
FULL = """
import os, sys
import numpy as np
import fastntk
from fastntk.kernels.block_loop import BlockLoop
folder, limit = sys.argv[1], int(sys.argv[2])
X = np.random.default_rng(0).standard_normal((1200, 20))
net, big = fastntk.MLP([20, 64, 1]), fastntk.MLP([20, 900, 900, 1])
packed = net.ntk(X, out="packed")
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
done = []
run = BlockLoop.run
BlockLoop.run = lambda *arguments: done.append("worked") or run(*arguments)
def attempt(name, call):
    try:
        call(os.path.join(folder, name))
    except OSError as error:
        done.append(f"{error.errno} {os.path.basename(str(error.filename))}")
    done.extend(os.listdir(folder))
attempt("k.npy", lambda name: net.ntk(X, out=name))
attempt("n.npz", big.save)
attempt("p.npy", packed.save)
attempt("c.npz", lambda name: fastntk.train(
    big, X, X[:, :1], loss="mse", learning_rate=1e-3, epochs=1, checkpoint=name, progress=False))
print(*done, sep="; ")
"""


def full(folder: Path, limit: int) -> str:
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(folder), str(limit)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@posix
def test_files_that_may_not_grow(tmp_path: Path) -> None:
    expected = "; ".join(f"{errno.EFBIG} {name}" for name in ("k.npy", "n.npz", "p.npy", "c.npz"))
    assert full(tmp_path, 4 * 2**20) == expected


@posix
def test_a_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        names = ("k.npy", "n.npz", "p.npy", "c.npz")
        assert full(tmp_path, 0) == "; ".join(f"{errno.ENOSPC} {name}" for name in names)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


_NOT_OWN = r"path: a file is there that is not .*: expected a name that is free, or overwrite=True"


@pytest.mark.parametrize("content", [b"", b"the only copy\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_what_save_did_not_write_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    net, packed = fastntk.MLP([3, 4, 1]), fastntk.PackedKernel.from_dense(np.eye(3))
    study = fastntk.depth_study(np.eye(3), depths=[0], width=4, seeds=1, progress=False)
    saves: list[tuple[str, Any]] = [
        ("x.npz", net.save),
        ("x.npy", packed.save),
        ("x.csv", study.save),
    ]
    for name, save in saves:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FileExistsError, match=_NOT_OWN):
            save(path)
        assert path.read_bytes() == content
        save(path, overwrite=True)
        written = path.read_bytes()
        assert written != content
        save(path)  # its own
        assert path.read_bytes() == written
        with pytest.raises(TypeError, match="overwrite='yes': expected True or False"):
            save(path, overwrite="yes")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_nobody_waits_for_a_pipe_that_is_where_a_file_is_to_be_saved(tmp_path: Path) -> None:
    net, packed = fastntk.MLP([3, 4, 1]), fastntk.PackedKernel.from_dense(np.eye(3))
    study = fastntk.depth_study(np.eye(3), depths=[0], width=4, seeds=1, progress=False)
    saves: list[tuple[str, Any]] = [
        ("x.npz", net.save),
        ("x.npy", packed.save),
        ("x.csv", study.save),
    ]
    for name, save in saves:
        os.mkfifo(tmp_path / name)
        with pytest.raises(FileExistsError, match=_NOT_OWN):
            save(tmp_path / name)


def test_networks_replace_earlier_states_of_themselves(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    net = fastntk.MLP([3, 4, 1])
    net.save(path)
    later = fastntk.MLP([3, 4, 1], seed=1)
    later.save(path)
    assert fastntk.MLP.load(path).digest() == later.digest()
    for other in (fastntk.MLP([3, 5, 1]), fastntk.MLP([3, 4, 4, 1]), net.linear()):
        with pytest.raises(FileExistsError, match=r"not a network of the same widths and activat"):
            other.save(path)
    assert fastntk.MLP.load(path).digest() == later.digest()
    net.linear().save(path, overwrite=True)
    assert fastntk.MLP.load(path).digest() == net.linear().digest()


def test_kernels_in_files_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file that is there says of which network and samples its kernel is."""
    path = tmp_path / "k.npy"
    other = fastntk.MLP([4, 8, 1], seed=1)
    written = np.array(NET.ntk(X[:9], out=path))
    content = path.read_bytes()
    message = r"out: a file is there: expected a name that is free, or overwrite=True: '.*k\.npy'"
    with monkeypatch.context() as patch:
        patch.setattr(BlockLoop, "run", lambda *_: pytest.fail("worked before it refused"))
        for net, Z in ((NET, None), (other, None), (other, X[:5])):
            with pytest.raises(FileExistsError, match=message):
                net.ntk(X[:9], Z, out=path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert np.array_equal(other.ntk(X[:9], out=path, overwrite=True), other.ntk(X[:9]))
    assert not np.array_equal(np.load(path), written)
    with pytest.raises(TypeError, match="overwrite='yes': expected True or False"):
        NET.ntk(X[:9], out=path, overwrite="yes")  # type: ignore[call-overload]


def test_a_thread_does_not_overwrite_what_another_is_about_to_write(tmp_path: Path) -> None:
    path = tmp_path / "k.npy"
    refused: list[BaseException] = []

    def second() -> None:
        try:
            fastntk.MLP([4, 8, 1], seed=1).ntk(X[:9], out=path)
        except FileExistsError as error:
            refused.append(error)

    other = threading.Thread(target=second)

    def begin(*_: object) -> None:
        if other.ident is None:
            assert not path.exists()
            other.start()

    K = np.array(NET.ntk(X[:9], out=path, progress=begin))
    other.join(60)
    assert len(refused) == 1
    assert np.array_equal(np.load(path), K)


def test_packed_kernels_replace_those_of_the_same(tmp_path: Path) -> None:
    path = tmp_path / "K.npy"
    small, large = (fastntk.PackedKernel.from_dense(np.eye(n)) for n in (3, 4))
    small.save(path, description={"of": "three"})
    small.save(path, description={"of": "three"})
    for kernel, description in ((large, {"of": "three"}), (small, {"of": "3"}), (small, None)):
        with pytest.raises(
            FileExistsError, match=r"not (a packed kernel of as many samples with|this p)"
        ):
            kernel.save(path, description=description)
    assert fastntk.PackedKernel.load(path, description={"of": "three"}).n == 3
    large.save(path, overwrite=True)
    assert fastntk.PackedKernel.load(path).n == 4
    # Without a description the numbers are all that tells one kernel from another.
    written = path.read_bytes()
    twice = fastntk.PackedKernel.from_dense(2 * np.eye(4))
    other = fastntk.PackedKernel.from_dense(np.eye(4, dtype=np.float32))
    for kernel in (twice, other):
        with pytest.raises(FileExistsError, match=r"not this packed kernel \(without a descr"):
            kernel.save(path)
    assert path.read_bytes() == written
    large.save(path)
    assert path.read_bytes() == written


def test_tables_replace_those_that_they_contain(tmp_path: Path) -> None:
    X, path = np.random.default_rng(0).standard_normal((5, 3)), tmp_path / "x.csv"

    def study(depths: list[int], seed: int) -> Any:
        return fastntk.depth_study(X, depths=depths, width=4, seeds=[seed], progress=False)

    study([0], 0).save(path)
    study([0, 1], 0).save(path)  # more of the same, at another time
    written = path.read_bytes()
    for depths, seed in (([0, 1], 1), ([0], 0)):
        with pytest.raises(FileExistsError, match=r"not a part of the same table"):
            study(depths, seed).save(path)
    assert path.read_bytes() == written
    study([0], 0).save(path, overwrite=True)
    assert len(path.read_text().splitlines()) == 3  # ReLU and identity
