"""The seal of a collected file: a hash of all its bytes, checked before HDF5 sees one of them.

HDF5 hangs and crashes on damaged tables, and reads damaged numbers without a word. The seal stands after HDF5's own
end, where no reader of HDF5 looks. What has no seal, because another program or an older version wrote it, is first
read whole by a process of its own, under a time limit.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from hpcsim.store.layout import StoreError

MAGIC = b"\nhpcsim seal, BLAKE2b of all bytes before this line: "
SEAL = len(MAGIC) + 64 + 1  # bytes: 32 of the hash in hexadecimal digits, and a newline
ATTRIBUTE = "seal"  # of a file that has one
BLOCK = 2**22
PROBE = """
import sys
sys.path.pop(0)
import h5py
with h5py.File(sys.argv[1], "r", locking=False) as file:
    for name, data in file.items():
        data[()], dict(data.attrs), [list(dim.keys()) for dim in data.dims]
    print(file.attrs.get("hpcsim") == "collected", "seal" in file.attrs)
"""


def sealed(content) -> bytes:
    """The content of a file and its seal."""
    return bytes(content) + MAGIC + hashlib.blake2b(content, digest_size=32).hexdigest().encode() + b"\n"


def has_seal(path: Path) -> bool:
    """Whether something that looks like a seal stands at the end of the file. Raises OSError."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - SEAL))
        return file.read(len(MAGIC)) == MAGIC


def verify(path: Path):
    """Raise StoreError if the seal of a file is broken. Raises OSError."""
    digest, left = hashlib.blake2b(digest_size=32), os.path.getsize(path) - SEAL
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, BLOCK))):
            digest.update(block)
            left -= len(block)
        found = file.read(SEAL)
    if found != MAGIC + digest.hexdigest().encode() + b"\n":
        raise broken(path)


def broken(path) -> StoreError:
    return StoreError(f"{path}: is damaged, or was changed after hpcsim collect wrote it; collect it again")


def probe(path: Path) -> tuple[bool, bool]:
    """Whether hpcsim collect wrote a file that has no seal, and whether it should have one.

    Raises StoreError if HDF5 fails, crashes or takes longer than a minute and a second for each 20 MB.
    """
    limit = 60 + os.path.getsize(path) / 2e7
    try:
        ended = subprocess.run([sys.executable, "-c", PROBE, path], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise StoreError(f"{path}: HDF5 does not come to an end of reading it: it is damaged") from None
    if ended.returncode:
        reason = ended.stderr.strip().rpartition("\n")[2] or f"HDF5 ends with signal {-ended.returncode}"
        raise StoreError(f"{path}: is not an HDF5 file, or is truncated or damaged ({reason}); collect it again")
    collected, marked = (word == "True" for word in ended.stdout.split())
    return collected, marked
