"""What is in the image: every package of Python and of Debian, as a CycloneDX document.

    make sbom          # as root on Debian, once `make docker-check` has built the image

It writes `reports/memr-service.cdx.json`, checked against CycloneDX's schema.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from benchmarks.docker_check.__main__ import CACHE
from benchmarks.docker_check.image import NAME, ROOT, Builder
from benchmarks.docker_check.tools import require

OUT = ROOT / "reports/memr-service.cdx.json"
VERSION = SchemaVersion.V1_6


def main() -> None:
    require(buildah="buildah")
    builder = Builder(CACHE)
    if not builder.images(NAME):
        raise SystemExit("There is no image yet: make docker-check builds it.")
    with builder.mounted() as root:
        bom = contents(root)
    written = document(bom)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(written)
    kinds = [one.purl.type for one in bom.components if one.purl is not None]
    print(f"{OUT.relative_to(ROOT)}: {kinds.count('pypi')} packages of Python, {kinds.count('deb')} of Debian")


def contents(root: Path) -> Bom:
    """The packages in an image's files, and memr, which the image is of.

    Args:
        root: the folder of the image's files.
    """
    (site,) = root.glob("opt/memr/lib/python3*/site-packages")
    components = [*python_packages(site), *debian_packages(root / "var/lib/dpkg/status")]
    memr = next(one for one in components if one.name == "memr")
    bom = Bom(components=[one for one in components if one is not memr])
    image = Component(type=ComponentType.CONTAINER, name=NAME, version=memr.version, components=[memr])
    bom.metadata.component = image
    bom.register_dependency(image, components)
    return bom


def document(bom: Bom) -> str:
    """The contents as JSON.

    Raises:
        SystemExit: CycloneDX's schema does not hold.
    """
    written = make_outputter(bom, OutputFormat.JSON, VERSION).output_as_string(indent=2)
    if (wrong := JsonStrictValidator(VERSION).validate_str(written)) is not None:
        raise SystemExit(f"The document is not valid: {wrong}")
    return written


def python_packages(site: Path) -> list[Component]:
    """The distributions in a folder, with their licences where they say them as an expression."""
    found = []
    for one in sorted(metadata.distributions(path=[str(site)]), key=lambda one: one.name.lower()):
        expression = one.metadata.get("License-Expression")
        licences = [LicenseFactory().make_from_string(expression)] if expression else []
        purl = PackageURL("pypi", name=one.name.lower().replace("_", "-"), version=one.version)
        found.append(Component(name=one.name, version=one.version, purl=purl, bom_ref=str(purl), licenses=licences))
    return found


def debian_packages(status: Path) -> list[Component]:
    """The installed packages in dpkg's list."""
    found = []
    for paragraph in status.read_text("utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = PackageURL("deb", "debian", name, version, {"arch": fields["Architecture"]})
            found.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    return found


if __name__ == "__main__":
    sys.exit(main())
