"""``make sbom``: writes ``dist/sbom.json``, a CycloneDX 1.6 bill of all that an installation holds.

The same parts that the licence gate walks (``licences.py``); what works at build time only is marked as excluded from
running. The file is checked against CycloneDX's schema before it is written.
"""

import sys
import tomllib
import uuid
from collections.abc import Iterable
from pathlib import Path

import licences
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

TARGET = licences.ROOT / "dist" / "sbom.json"
TYPES = {
    "viewer": ComponentType.APPLICATION,
    "weights": ComponentType.MACHINE_LEARNING_MODEL,
    "file": ComponentType.FILE,
}
VIEWER_NOTE = "Taken as published; the packages built into it are not listed in the archive and not listed here."


def make_bom(parts: Iterable[licences.Part]) -> Bom:
    """Return the bill of these parts, with what needs what among the Python packages."""
    project = tomllib.loads((licences.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    house = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref="readingroom",
        licenses=[LicenseFactory().make_from_string(project["license"])],
        purl=PackageURL("pypi", None, project["name"], project["version"]),
    )
    bom = Bom(serial_number=uuid.uuid4())
    bom.metadata.component = house
    made = {part: _component(part, "") for part in parts}
    by_name = {part.name: component for part, component in made.items() if part.kind == "python"}
    bom.components.update(made.values())
    asked_for = [by_name[name] for name in licences.direct_needs() if name in by_name]
    rest = [component for part, component in made.items() if part.kind in ("npm", "viewer", "weights")]
    bom.register_dependency(house, [*asked_for, *rest])
    for part, component in made.items():
        bom.register_dependency(component, [by_name[name] for name in part.needs])
    return bom


def _component(part: licences.Part, inside: str) -> Component:
    reference = f"{inside}{part.kind}:{part.name}@{part.version}"
    stated = LicenseAcknowledgement.DECLARED
    return Component(
        name=part.name,
        version=part.version or None,
        type=TYPES.get(part.kind, ComponentType.LIBRARY),
        bom_ref=reference,
        scope=ComponentScope.EXCLUDED if part.build_only else ComponentScope.REQUIRED,
        licenses=[LicenseFactory().make_from_string(part.licence, license_acknowledgement=stated)],
        hashes=[HashType(alg=HashAlgorithm(algorithm), content=digest) for algorithm, digest in part.hashes],
        purl=PackageURL.from_string(part.purl) if part.purl else None,
        properties=[Property(name="readingroom:note", value=VIEWER_NOTE)] if part.kind == "viewer" else [],
        components=[_component(one, f"{reference}/") for one in part.parts],
    )


def main() -> int:
    """Write the bill; return 1 where a part may not travel or the bill is no CycloneDX."""
    parts = licences.everything()
    refused = [f"{where}: {why}" for where, part in licences.walk(parts) if (why := licences.problem(part))]
    if refused:
        print("\n".join(refused), file=sys.stderr)
        return 1
    text = JsonV1Dot6(make_bom(parts)).output_as_string(indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        print(f"The bill is no CycloneDX 1.6: {wrong}", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text, "utf-8")
    print(
        f"Wrote {TARGET.relative_to(Path.cwd()) if TARGET.is_relative_to(Path.cwd()) else TARGET}: {len(parts)} parts."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
