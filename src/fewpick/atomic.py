"""Write files atomically."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewpick.errors import InputError

# What a disk refuses, and the cure.
CURES = {
    errno.ENOSPC: "Free some space, or write elsewhere (snakemake --directory)",
    errno.EDQUOT: "Your disk quota is exhausted: free some space, or write elsewhere",
    errno.EFBIG: "Raise the file size limit (ulimit -f)",
    errno.EROFS: "Write elsewhere (snakemake --directory)",
    errno.EACCES: "Write elsewhere (snakemake --directory), or get write permission for it",
}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place when the block succeeds.

    The temporary file keeps the suffix of `path`, because many writers choose their format by it,
    and is removed if the block raises. Missing parent directories are created.

    Raises
    ------
    InputError
        When the disk is full, write-protected or limits the file size.
    """
    path = Path(path)
    with _disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp" + path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files private (0600); give the result the permissions of any new file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _disk_faults(path: Path) -> Iterator[None]:
    """Turn errors about writing `path` into one line; pass on all others."""
    try:
        yield
    except OSError as error:
        # An error in writing to an open file names no file; other names belong to files being read.
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        ours = named is None or named in path.parents or named.parent == path.parent
        if error.errno not in CURES or not ours:
            raise
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). {CURES[error.errno]}, then rerun."
        ) from error
