"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from hpcsim.store.layout import StoreError


def write_whole(path: Path, content):
    """Write bytes under another name, bring them to the disk, then rename. Raises StoreError.

    A link of the name `path` is replaced, not followed.
    """
    path = Path(path)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        try:
            write_at(fd, content, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        wrong_place = isinstance(error, (FileExistsError, NotADirectoryError, PermissionError, IsADirectoryError))
        raise StoreError(
            f"{path}: cannot be written ({error}); make room on the disk, or choose another place",
            2 if wrong_place else 1,
        ) from None
    sync_folder(path.parent)


def write_at(fd: int, content, offset: int):
    """All of `content` at `offset` of an open file, however little a call writes. Raises OSError."""
    left = memoryview(content).cast("B")
    while left:
        written = os.pwrite(fd, left, offset)
        left, offset = left[written:], offset + written


def sync_folder(folder: Path):
    """Bring a rename in the folder to the disk, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(fd)
        os.close(fd)


def file_system(path) -> str:
    """The kind of file system that `path` is on, as ext4, tmpfs or nfs4; "" where the kernel does not say."""
    path = os.path.realpath(path)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            kinds = [line.split()[1:3] for line in mounts]
    except OSError:
        return ""
    above = [(len(place), kind) for place, kind in kinds if os.path.commonpath([place, path]) == place]
    return max(above, default=(0, ""))[1]
