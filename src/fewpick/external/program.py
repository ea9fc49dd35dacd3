"""Run another picker's program: it is called, never imported, and has its own environment."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fewpick.errors import InputError

logger = logging.getLogger(__name__)


def run_program(
    executable: str,
    arguments: Sequence[str],
    cwd: Path,
    *,
    name: str,
    missing: str,
    threads: int | None = None,
    stdin: str = "",
) -> str:
    """Run a program to completion, and log its output line by line.

    Parameters
    ----------
    executable : its path, or its name on the PATH
    arguments : passed unchanged
    cwd : folder in which it runs
    name : what error messages call the program
    missing : message if the program is not found
    threads : value of OMP_NUM_THREADS; None leaves it unchanged
    stdin : text given as standard input

    Returns
    -------
    its standard output and standard error, without blank lines

    Raises
    ------
    InputError : the program is missing, or fails
    """
    program = shutil.which(executable)
    if program is None:
        raise InputError(missing)
    # A program in another environment must not import from the path of this package.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    logger.info("%s", shlex.join([program, *arguments]))
    lines: list[str] = []
    # A file, because a pipe could fill up before the program reads it.
    with tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.seek(0)
        with subprocess.Popen(
            [os.path.abspath(program), *arguments],
            cwd=cwd,
            env=environment,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.strip():
                        lines.append(line.rstrip())
                        logger.info("%s: %s", name.split()[0], lines[-1])
            except BaseException:
                process.kill()
                raise
    if process.returncode != 0:
        raise InputError(
            f"{name} exited with status {process.returncode}: "
            f"{lines[-1] if lines else 'no output'}. See the log for its full output."
        )
    return "\n".join(lines)
