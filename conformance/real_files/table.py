"""The table that the makers fill: a file, its declared type, and what the rules must say of it."""

import io
import os
import subprocess
import zipfile

PDF = "application/pdf"
ZIP = "application/zip"
GZIP = "application/gzip"
TAR = "application/x-tar"
XML = "text/xml"
TEXT = "text/plain"
HTML = "text/html"
SVG = "image/svg+xml"
OCTETS = "application/octet-stream"
OOXML = "application/vnd.openxmlformats-officedocument."
DOCX = OOXML + "wordprocessingml.document"
XLSX = OOXML + "spreadsheetml.sheet"
PPTX = OOXML + "presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"

# In two halves, so that this source is no test file itself (eicar.org).
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + rb"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PE = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8" + bytes(43) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0\x4c\x01" + bytes(400)

CLEAN = frozenset()


class Table:
    """Samples in the order made: name, declared type, path, findings that are right (none: clean)."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = []
        self.content = {}

    def put(self, name, declared, data, findings):
        path = os.path.join(self.folder, f"{len(self.rows):03}-" + name.replace("/", "-").replace(" ", "-"))
        with open(path, "wb") as out:
            out.write(data)
        self.rows.append((name, declared, path, frozenset(findings)))
        self.content[name] = data
        return data

    def clean(self, name, declared, data):
        return self.put(name, declared, data, CLEAN)

    def bad(self, name, declared, data, *findings):
        assert findings, name
        return self.put(name, declared, data, findings)


def run(folder, *words, stdin=None, codes=(0,), env=None):
    """A producer's program; fails when it is missing or fails."""
    done = subprocess.run(words, cwd=folder, input=stdin, capture_output=True, env=env, timeout=170)
    if done.returncode not in codes:
        raise RuntimeError(f"{words[0]}: exit {done.returncode}: {done.stderr[-800:].decode(errors='replace')}")
    return done.stdout


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def write(data, *parts):
    path = os.path.join(*parts)
    with open(path, "wb") as out:
        out.write(data)
    return path


def zipped(entries, **options):
    """A zip by Python's own writer; entries are name and bytes."""
    out = io.BytesIO()
    options.setdefault("compression", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def rezipped(package, change):
    """A package with its parts run through `change(name, bytes)` and more parts from `change(None, None)`."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    entries = [(name, change(name, data)) for name, data in entries]
    return zipped([entry for entry in entries if entry[1] is not None] + (change(None, None) or []))
