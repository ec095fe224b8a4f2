"""Which readers read here: those installed, asked once of a child (the worker itself never imports a reader), each
replaced by the version that was added for it and is live."""

import logging
import threading

from pydantic import TypeAdapter, ValidationError

from readingroom.learning.models.serving import live_packages, packages_named
from readingroom.workflow.process import ChildFailed, run_child, scratch
from readingroom.workflow.revise import InstalledReader
from readingroom.workflow.rooms import Rooms

log = logging.getLogger(__name__)
_readers = TypeAdapter(tuple[InstalledReader, ...])


class Installed:
    """The readers that read; those installed are asked on first use: a new one is seen when the worker starts again. A
    version that becomes live is seen at once."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._lock = threading.Lock()
        self._found: tuple[InstalledReader, ...] | None = None

    def __call__(self) -> tuple[InstalledReader, ...]:
        with self._lock:
            if self._found is None:
                self._found = self._ask()
            found = self._found
        with self._rooms.database.read() as session:
            live = live_packages(session, self._rooms.settings)
        added = [InstalledReader(name=p.reader, version=p.version, title=p.title, error=p.error) for p in live]
        replaced = packages_named(live)
        return tuple([*(reader for reader in found if reader.name not in replaced), *added])

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
