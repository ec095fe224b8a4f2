"""What the demo does in children: ``accounts HOME NAME...`` and ``study HOME [FOLDER]``."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.presentation import build_context

from readingroom.access.accounts import change_password, create_account
from readingroom.access.passwords import random_password
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import Conflict, ReadingRoomError
from readingroom.core.ids import sha256_hex
from readingroom.core.permissions import Role

CONTEXTS = 120
"""Presentation contexts of one association; 128 is the most."""
SIMULATED = "simulated"


def make_accounts(home: Path, radiologist: str, administrator: str) -> None:
    """Make both accounts or give them new passwords; print the passwords as JSON."""
    database = Database(load_settings(home).index_url)
    passwords = {}
    try:
        upgrade(database.engine)
        for name, role in ((radiologist, Role.RADIOLOGIST), (administrator, Role.ADMINISTRATOR)):
            passwords[name] = random_password()
            try:
                with database.write() as session:
                    create_account(session, name, passwords[name], role, display_name=f"Demo {role}", actor="demo")
            except Conflict:
                with database.write() as session:
                    change_password(session, name, passwords[name], actor="demo")
    finally:
        database.close()
    print(json.dumps(passwords))


def send_study(home: Path, folder: Path | None) -> None:
    """Send ``folder`` (else a simulated chest CT, made the first time) to ourselves, unless it has been sent."""
    sent = home / f"sent-{sha256_hex(str(folder or SIMULATED))[:16]}"
    if sent.exists():
        print("The study is on the worklist.", flush=True)
        return
    if folder is None:
        folder = home / SIMULATED
        _simulate(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    number, failed = send(home, files)
    if number == 0:
        print("There is no DICOM image in that folder.", flush=True)
        return
    if not failed:
        sent.touch()
    print(f"Sent {number} images by C-STORE, {failed} refused. Findings follow on the worklist.", flush=True)


def _simulate(folder: Path) -> None:
    from readingroom.imaging.simulate import write_chest_ct

    if not (folder / "done").exists():
        print("Making a simulated chest CT ...", flush=True)
        study = write_chest_ct(folder)
        (folder / "done").touch()
        print(f"Made {len(study.files)} images with {len(study.nodules)} nodules. All simulated.", flush=True)


def send(home: Path, files: list[Path]) -> tuple[int, int]:
    """Send DICOM files by C-STORE; return how many there were and how many were refused."""
    settings = load_settings(home)
    syntaxes: dict[str, set[str]] = {}
    images = []
    for path, SOPClassUID, TransferSyntaxUID in _headers(files):
        images.append(path)
        syntaxes.setdefault(SOPClassUID, set()).add(TransferSyntaxUID)
    if not images:
        return 0, 0
    ae = AE(ae_title="DEMO")
    contexts = [build_context(uid, syntax) for uid, found in syntaxes.items() for syntax in found]
    assoc = ae.associate(settings.dicom_host, settings.dicom_port, contexts[:CONTEXTS], ae_title=settings.aet)
    failed = 0
    try:
        for number, path in enumerate(images, 1):
            status = assoc.send_c_store(path) if assoc.is_established else None
            failed += status is None or status.get("Status") != 0
            if number % 50 == 0:
                print(f"  {number} of {len(images)} images sent", flush=True)
    finally:
        if assoc.is_established:
            assoc.release()
    return len(images), failed


def _headers(files: list[Path]) -> Iterator[tuple[Path, str, str]]:
    for path in files:
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            yield path, str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)
        except (InvalidDicomError, AttributeError, OSError, EOFError):
            continue


def main() -> int:
    started = time.monotonic()
    action, home, *rest = sys.argv[1:]
    try:
        if action == "accounts":
            make_accounts(Path(home), *rest)
        else:
            send_study(Path(home), Path(rest[0]) if rest else None)
            print(f"({time.monotonic() - started:.0f} s)", flush=True)
    except ReadingRoomError as error:
        print(f"readingroom: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
