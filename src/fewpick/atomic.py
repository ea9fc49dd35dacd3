"""Write files atomically."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewpick.errors import InputError

# What to do about disk errors.
CURES = {
    errno.ENOSPC: "Free some space, or write elsewhere (snakemake --directory)",
    errno.EDQUOT: "Your disk quota is exhausted: free some space, or write elsewhere",
    errno.EFBIG: "Raise the file size limit (ulimit -f)",
    errno.EROFS: "Write elsewhere (snakemake --directory)",
    errno.EACCES: "Write elsewhere (snakemake --directory), or get write permission for it",
}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` if the block succeeds.

    The temporary file keeps the suffix of `path`, because many writers choose their format by it,
    and is removed if the block raises. Missing parent directories are created.

    Raises
    ------
    InputError
        If the disk is full or write-protected, or the file size is limited.
    """
    path = Path(path)
    with _disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp" + path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files private (0600); restore the usual permissions.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _disk_faults(path: Path) -> Iterator[None]:
    """Turn errors in writing `path` into an InputError; let others pass."""
    try:
        yield
    except OSError as error:
        # Errors in writing to an open file have no file name; other names are of files being read.
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        ours = named is None or named in path.parents or named.parent == path.parent
        if error.errno not in CURES or not ours:
            raise
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). {CURES[error.errno]}, then rerun."
        ) from error
