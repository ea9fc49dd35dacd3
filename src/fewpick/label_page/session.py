"""Keep labels in memory and on disk: changes, undo, and edits by other programs.

A change adds labels to and removes labels from one micrograph, and is saved before the server
responds. Two windows on the same labels send changes, never the whole state, so neither overwrites
the other. The files are checked before each change, so edits by another program are read first and
kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fewpick.annotation.areas import overlapping
from fewpick.errors import InputError
from fewpick.label_page.label_files import (
    AREAS,
    DIGITS,
    KINDS,
    LabelFiles,
    Labels,
    OfMicrograph,
)

MOST_UNDO = 1000  # undo steps per window
MOST_NOTICES = 20

Done = TypeVar("Done")
Sent = tuple[str, int]  # page, and number of its message


class NotSaved(InputError):
    """The files cannot be read or written now; retrying may succeed."""


@dataclass(frozen=True)
class Change:
    """Labels added to and removed from one micrograph."""

    micrograph: str
    add: OfMicrograph = field(default_factory=OfMicrograph)
    remove: OfMicrograph = field(default_factory=OfMicrograph)

    def inverse(self) -> Change:
        """Return the change that undoes this one."""
        return Change(self.micrograph, add=self.remove, remove=self.add)

    def kinds(self) -> list[str]:
        """Return the kinds that change: additions first, so being killed in between loses nothing.

        The files are written in this order.
        """
        touched = [k for k in KINDS if getattr(self.add, k) or getattr(self.remove, k)]
        return sorted(touched, key=lambda kind: not getattr(self.add, kind))


class Session:
    """The labels of one set of files.

    Parameters
    ----------
    files : LabelFiles
    diameter : particle diameter in px, which replaces the one in the files

    Attributes
    ----------
    labels : Labels
    version : int, increases with every change
    """

    def __init__(self, files: LabelFiles, diameter: float | None = None) -> None:
        self.files = files
        self.labels: Labels = files.read()
        self.version = 1
        self._changed = dict.fromkeys(self.labels.of, 1)
        self._notices: list[tuple[int, str]] = []
        self._signature = files.signature()
        self._lock = threading.RLock()
        self._done: dict[str, list[Change]] = {}
        self._undone: dict[str, list[Change]] = {}
        self._numbers: dict[str, int] = {}
        if diameter is not None and diameter != self.labels.diameter:
            self.set_diameter(diameter)

    # ------------------------------------------------------------------------------- reading

    def of(self, micrograph: str) -> tuple[int, OfMicrograph]:
        """Return the version and the labels of a micrograph."""
        with self._lock:
            return self._changed[micrograph], self.labels.of[micrograph].copy()

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return micrograph -> number of marks, negatives and areas."""
        with self._lock:
            return {
                name: (len(of.marks), len(of.negatives), len(of.areas))
                for name, of in self.labels.of.items()
            }

    def news(self, since: int) -> tuple[int, list[str], list[str]]:
        """Check the files, then return the version, and micrographs and notices after `since`."""
        with self._lock:
            trouble = []
            try:
                self._catch_up()
            except InputError as error:
                trouble = [str(error)]
            changed = [name for name, version in self._changed.items() if version > since]
            notices = [text for version, text in self._notices if version > since]
            return self.version, changed, notices + trouble

    # ------------------------------------------------------------------------------ changing

    def change(self, client: str, change: Change, sent: Sent | None = None) -> Change:
        """Apply and save a change.

        Parameters
        ----------
        client : the window that sent it; its undo reverts the change
        change : Change
        sent : page and number of the message; a message is applied only once, so a page can resend
            it if the response was lost

        Returns
        -------
        the effective change, without additions that existed and removals that were missing

        Raises
        ------
        InputError
            If it does not fit the micrograph; nothing is changed.
        NotSaved
            If the files cannot be read or written; nothing is changed.
        """

        def work() -> Change:
            done = self._apply(change)
            if done.kinds():
                self._done.setdefault(client, []).append(done)
                del self._done[client][:-MOST_UNDO]
                self._undone.pop(client, None)
            return done

        done = self._saved(work, sent)
        return Change(change.micrograph) if done is None else done

    def undo(self, client: str, sent: Sent | None = None) -> Change | None:
        """Undo the last change of a window; return None if there is none."""
        return self._move(client, self._done, self._undone, sent)

    def redo(self, client: str, sent: Sent | None = None) -> Change | None:
        """Redo the last undone change of a window; return None if there is none."""
        return self._move(client, self._undone, self._done, sent)

    def set_diameter(self, diameter: float) -> None:
        """Set and save the particle diameter, px.

        Raises
        ------
        InputError
            If it is not positive, or cannot be saved.
        """
        if not 0 < diameter < 1e6:
            raise InputError(
                f"diameter: {diameter:g} px is not a valid particle diameter. It must be greater "
                "than 0."
            )
        with self._lock, self._writing():
            self._catch_up()
            self.files.write_diameter(diameter)
            self._signature = self.files.signature()
            self.labels.diameter = diameter
            self.version += 1

    def _move(
        self,
        client: str,
        taken: dict[str, list[Change]],
        given: dict[str, list[Change]],
        sent: Sent | None,
    ) -> Change | None:
        def work() -> Change | None:
            if not taken.get(client):
                return None
            done = self._apply(taken[client][-1].inverse())
            taken[client].pop()
            given.setdefault(client, []).append(done)
            return done

        return self._saved(work, sent)

    def _saved(self, work: Callable[[], Done], sent: Sent | None) -> Done | None:
        """Run `work` once per message, after reading others' edits; None if it was run before."""
        with self._lock, self._writing():
            page, number = sent or ("", 0)
            if sent is not None and number <= self._numbers.get(page, -1):
                return None
            self._catch_up()
            done = work()
            self._numbers[page] = number
            return done

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self.files.locked():
                yield
        except OSError as error:
            raise NotSaved(f"{self.files.path}: cannot be written ({error}).") from error

    def _apply(self, change: Change) -> Change:
        """Change one micrograph and write the files; on an error, do neither."""
        name = change.micrograph
        if name not in self.labels.of:
            raise InputError(f"{name}: not one of the micrographs. Reload the page.")
        before = self.labels.of[name]
        after, done = before.copy(), Change(name)
        for kind in KINDS:
            held = getattr(after, kind)
            for thing in getattr(change.remove, kind):
                if thing in held:
                    held.remove(thing)
                    getattr(done.remove, kind).append(thing)
        for kind in KINDS:
            held, known = getattr(after, kind), set(getattr(after, kind))
            for thing in getattr(change.add, kind):
                if thing not in known:
                    self._check(name, kind, thing, after)
                    known.add(thing)
                    held.append(thing)
                    getattr(done.add, kind).append(thing)
        if done.kinds():
            self.labels.of[name] = after
            try:
                self.files.write(self.labels, done.kinds())
            except BaseException as error:
                self.labels.of[name] = before
                if isinstance(error, InputError):
                    raise NotSaved(str(error)) from error
                raise
            finally:
                self._signature = self.files.signature()
            self.version += 1
            self._changed[name] = self.version
        return done

    def _check(self, name: str, kind: str, thing: tuple[float, ...], held: OfMicrograph) -> None:
        ny, nx = self.files.shapes[name]
        if kind != AREAS:
            if not (0 <= thing[0] <= nx - 1 and 0 <= thing[1] <= ny - 1):
                raise InputError(
                    f"{name}: x={thing[0]:g}, y={thing[1]:g} is outside the {nx} x {ny} px "
                    "micrograph."
                )
            return
        x0, y0, x1, y1 = thing
        if not (0 <= x0 < x1 <= nx and 0 <= y0 < y1 <= ny):
            raise InputError(
                f"{name}: the area {thing} extends beyond the {nx} x {ny} px micrograph."
            )
        if len(found := overlapping(held.areas, thing)):
            raise InputError(
                f"{name}: this area overlaps the finished one at x {held.areas[found[0]][0]} to "
                f"{held.areas[found[0]][2]}, y {held.areas[found[0]][1]} to "
                f"{held.areas[found[0]][3]}. Draw next to it, or remove it first."
            )

    # ------------------------------------------------------------------------ other programs

    def _catch_up(self) -> None:
        """Read the files if another program changed them, and rewrite any that it deleted."""
        signature = self.files.signature()
        if signature == self._signature:
            return
        gone = [path for path, now in signature.items() if now is None and self._signature[path]]
        if gone:
            # A file that was moved away must not cost its labels.
            self.files.write(
                self.labels, [kind for kind, path in self.files.paths.items() if path in gone]
            )
            if self.files.settings in gone and self.labels.diameter:
                self.files.write_diameter(self.labels.diameter)
            self._tell(f"{gone[0].name} was deleted by another program; writing it again.")
        try:
            labels = self.files.read()
        except InputError as error:
            raise NotSaved(
                f"{error} (Another program changed the file while the page was open. Labels are "
                "not saved until it can be read again.)"
            ) from None
        before, self.labels = self.labels, labels
        self._signature = self.files.signature()
        counts = {True: 0, False: 0}
        self.version += 1
        for name, held in labels.of.items():
            if held != before.of[name]:
                self._changed[name] = self.version
                for kind in KINDS:
                    old, new = set(getattr(before.of[name], kind)), set(getattr(held, kind))
                    counts[True] += len(new - old)
                    counts[False] += len(old - new)
        if any(counts.values()):
            self._tell(
                f"{self.files.path.name} was changed by another program (labels added: "
                f"{counts[True]}, removed: {counts[False]}). The page now shows the file's "
                "contents."
            )

    def _tell(self, text: str) -> None:
        self.version += 1
        self._notices = [*self._notices, (self.version, text)][-MOST_NOTICES:]


def parse_change(message: Mapping[str, Any]) -> Change:
    """Parse a change as the page sends it.

    Raises
    ------
    InputError
        If the message is not a valid change.
    """
    try:
        add, remove = (_parse_things(message.get(key, {})) for key in ("add", "remove"))
        return Change(str(message["micrograph"]), add, remove)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError("The page sent an invalid change. Reload it.") from None


def _parse_things(message: Mapping[str, Any]) -> OfMicrograph:
    things = OfMicrograph()
    for kind in KINDS:
        for thing in message.get(kind, []):
            if kind == AREAS:
                x0, y0, x1, y1 = map(int, thing)
                things.areas.append((x0, y0, x1, y1))
            else:
                x, y = (round(float(value), DIGITS) for value in thing)
                if not (abs(x) < float("inf") and abs(y) < float("inf")):
                    raise ValueError
                getattr(things, kind).append((x, y))
    return things
