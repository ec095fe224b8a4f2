"""Which readers are installed, asked once of a child: the worker itself never imports a reader."""

import logging
import threading

from pydantic import TypeAdapter, ValidationError

from readingroom.workflow.process import ChildFailed, run_child, scratch
from readingroom.workflow.revise import InstalledReader
from readingroom.workflow.rooms import Rooms

log = logging.getLogger(__name__)
_readers = TypeAdapter(tuple[InstalledReader, ...])


class Installed:
    """The installed readers; loaded on first use. A newly installed reader is seen when the worker starts again."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._lock = threading.Lock()
        self._found: tuple[InstalledReader, ...] | None = None

    def __call__(self) -> tuple[InstalledReader, ...]:
        with self._lock:
            if self._found is None:
                self._found = self._ask()
            return self._found

    def _ask(self) -> tuple[InstalledReader, ...]:
        try:
            with scratch(self._rooms.settings) as folder:
                request = {"task": "readers", "readers": list(self._rooms.settings.readers)}
                answer = run_child(self._rooms.settings, folder, request)
            return _readers.validate_python(answer["readers"])
        except (ChildFailed, ValidationError, KeyError) as error:
            # Intake asks again with each study, so no reader is lost by this.
            log.error("the installed readers could not be listed: %s", type(error).__name__)
            return ()
