"""The keys of a sealed store: one for each project, kept beside the objects, sealed with the site's secret key.

``store/keys/ID.key`` names its project (by its key in the index) and holds its key as ``core/secrets.py`` seals it, so
that the store and the secret key together are all that is needed to read every object. A project has one key but while
it is rotated: then the newest counts, and the older ones open what has not been wrapped anew yet. Every process looks
at the folder before it seals, so that none goes on with a key that another has replaced.
"""

import json
import os
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from readingroom.archive.store import sync_folder
from readingroom.core.errors import KeyMissing
from readingroom.core.ids import new_id
from readingroom.core.sealed import DATA_KEY_BYTES, EMPTY_SLOT, KEY_ID_BYTES, cipher_of, opened, wrapped_by
from readingroom.core.secrets import SecretBox

_NONCE_BYTES: Final = 12
_SUFFIX: Final = ".key"


@dataclass(frozen=True, order=True)
class ProjectKey:
    """One key of a project. Keys of a project order by age."""

    number: int
    id: str
    project: int
    key: bytes = field(repr=False, compare=False)

    def wrap(self, data_key: bytes, store_key: str) -> bytes:
        """Return the slot that holds ``data_key`` for the object ``store_key`` and no other."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return bytes.fromhex(self.id) + nonce + cipher_of(self.key).encrypt(nonce, data_key, store_key.encode())


class KeyRing:
    """The keys in one folder. Safe for threads; several processes may share the folder."""

    def __init__(self, folder: Path, box: SecretBox) -> None:
        self.folder = folder
        self._box = box
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._keys: dict[str, ProjectKey] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def keys(self) -> dict[str, ProjectKey]:
        """Return every key by id, as the folder has them now. Raises KeyMissing where the secret key opens one not."""
        names = frozenset(name for name in os.listdir(self.folder) if name.endswith(_SUFFIX))
        with self._lock:
            # A few names: cheaper and surer than a time stamp, which two changes may share.
            if names != self._names:
                self._keys = {key.id: key for key in map(self._load, sorted(names)) if key is not None}
                self._names = names
            return self._keys

    def current(self, project: int) -> ProjectKey:
        """Return the key that seals for ``project``, made when it has none."""
        found = max((key for key in self.keys().values() if key.project == project), default=None)
        return found or self.renew(project)

    def superseded(self) -> list[ProjectKey]:
        """Return the keys that only open what was sealed before: each belongs to a rotation that has not ended."""
        keys = self.keys().values()
        return [key for key in keys if key < self.current(key.project)]

    def projects(self) -> list[int]:
        return sorted({key.project for key in self.keys().values()})

    def renew(self, project: int) -> ProjectKey:
        """Give ``project`` a new key, which counts from now on."""
        number = max((key.number for key in self.keys().values() if key.project == project), default=0) + 1
        key = ProjectKey(number, new_id(), project, secrets.token_bytes(DATA_KEY_BYTES))
        self._write(key)
        return key

    def destroy(self, key: ProjectKey) -> None:
        """Forget a key for ever."""
        (self.folder / f"{key.id}{_SUFFIX}").unlink(missing_ok=True)
        sync_folder(self.folder)

    def seal_anew(self) -> int:
        """Seal every key with the newest secret key where it is not yet. Returns how many were."""
        stale = [key for key in self.keys().values() if not self._text(key.id)["sealed"].startswith(self._box.newest)]
        for key in stale:
            self._write(key)
        return len(stale)

    def unwrap(self, slot: bytes, store_key: str) -> bytes | None:
        """Return the data key in one of an object's slots, None where it is empty or was not written to its end.

        Raises KeyMissing where it is wrapped with a key that is not in the folder.
        """
        if slot == EMPTY_SLOT:
            return None
        wanted = wrapped_by(slot)
        key = self.keys().get(wanted)
        if key is None:
            raise KeyMissing(
                f"The store's key {wanted} is not here.", f"Bring {wanted}{_SUFFIX} back into the store's keys folder."
            )
        nonce, wrapped = slot[KEY_ID_BYTES : KEY_ID_BYTES + _NONCE_BYTES], slot[KEY_ID_BYTES + _NONCE_BYTES :]
        return opened(cipher_of(key.key), nonce, wrapped, store_key.encode())

    def _load(self, name: str) -> ProjectKey | None:
        text = self._text(name.removesuffix(_SUFFIX))
        if not text:
            return None
        key = ProjectKey(text["number"], name.removesuffix(_SUFFIX), text["project"], b"")
        try:
            return replace(key, key=self._box.open(text["sealed"], _purpose(key)))
        except KeyMissing:
            raise KeyMissing(
                "The secret key does not open the keys of the store: nothing in it can be read or added.",
                "Put back the secret key the store was sealed with (READINGROOM_SECRET_KEY or secret_key_file).",
            ) from None

    def _text(self, key_id: str) -> dict[str, Any]:
        try:
            text: dict[str, Any] = json.loads((self.folder / f"{key_id}{_SUFFIX}").read_text("utf-8"))
        except FileNotFoundError:
            # Destroyed since the folder was listed.
            return {}
        return text

    def _write(self, key: ProjectKey) -> None:
        """Write a key's file, whole or not at all, and durable before anything is sealed with it."""
        sealed = self._box.seal(key.key, _purpose(key))
        text = json.dumps({"project": key.project, "number": key.number, "sealed": sealed})
        part = self.folder / f"{key.id}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.folder / f"{key.id}{_SUFFIX}")
        sync_folder(self.folder)


def _purpose(key: ProjectKey) -> str:
    return f"store key {key.id}, number {key.number} of project {key.project}"
