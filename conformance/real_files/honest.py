"""Honest files, as producers write them. Every one must be clean."""

import base64
import gzip
import io
import os
import tarfile
import zipfile
from datetime import datetime

from .table import (DOCX, GZIP, HTML, ODS, ODT, OCTETS, PDF, PPTX, SVG, TAR, TEXT, XLSX, XML, ZIP, read, run, write, zipped)

LETTER = "Befundbericht: Herr Jürgen Groß, 54 J. Hb 13,2 g/dl; CRP < 5 mg/l. Bitte /JavaScript ist kein Befund. <b>nil</b>\n"


def reportlab_pdfs(table):
    from reportlab.lib import pdfencrypt
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen import canvas

    def letter(**options):
        out = io.BytesIO()
        page = canvas.Canvas(out, pagesize=A4, **options)
        page.setTitle("Befund (JavaScript)")
        for number in range(3):
            page.bookmarkPage(f"p{number}")
            page.addOutlineEntry(f"Seite {number}", f"p{number}", 0)
            page.drawString(72, 700, LETTER.strip())
            page.linkURL("https://example.org/?javascript", (72, 690, 300, 720))
            page.showPage()
        page.save()
        return out.getvalue()

    table.clean("reportlab plain", PDF, letter(pageCompression=0))
    table.clean("reportlab compressed", PDF, letter(pageCompression=1))
    table.clean("reportlab 1.3", PDF, letter(pdfVersion=(1, 3)))
    table.clean("reportlab invariant", PDF, letter(invariant=1))
    out = io.BytesIO()
    page = canvas.Canvas(out)
    page.drawString(72, 760, "Anamnese")
    form = page.acroForm
    form.textfield(name="name", x=100, y=700, tooltip="Name")
    form.checkbox(name="fasting", x=100, y=650)
    form.choice(name="ward", x=100, y=600, options=["A", "B"], value="A")
    page.save()
    table.clean("reportlab form", PDF, out.getvalue())
    for bits, strength in (("rc4-40", 40), ("rc4-128", 128)):
        lock = pdfencrypt.StandardEncryption("", ownerPassword="owner", canPrint=1, canModify=0, strength=strength)
        table.clean(f"reportlab owner only {bits}", PDF, letter(encrypt=lock))


def fpdf_pdfs(table, pictures):
    from fpdf import FPDF

    def letter(version=None, change=lambda pdf: None):
        pdf = FPDF()
        pdf.set_title("Laborbefund")
        pdf.add_page()
        pdf.set_font("Helvetica", size=12)
        pdf.start_section("Befund")
        pdf.multi_cell(0, 8, LETTER)
        pdf.image(io.BytesIO(pictures["png rgb"]), w=60)
        pdf.image(io.BytesIO(pictures["jpeg rgb"]), w=60)
        pdf.add_page()
        pdf.cell(text="Link", link="https://example.org/")
        change(pdf)
        return bytes(pdf.output())

    table.clean("fpdf2 letter", PDF, letter())
    table.clean("fpdf2 embedded font", PDF, letter(change=lambda pdf: (
        pdf.add_font("dv", fname="/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"), pdf.set_font("dv"), pdf.cell(text="ŁŚ Ω"))))
    table.clean("fpdf2 attachment", PDF, letter(change=lambda pdf: pdf.embed_file(
        basename="befund.xml", bytes=b"<?xml version='1.0'?><Befund><Wert>3</Wert></Befund>", desc="data")))
    table.clean("fpdf2 highlights", PDF, letter(change=lambda pdf: pdf.text_annotation(100, 100, "Hinweis")))
    table.clean("fpdf2 owner only", PDF, letter(change=lambda pdf: pdf.set_encryption(owner_password="x", permissions=4)))
    table.clean("fpdf2 owner only aes128", PDF, letter(change=lambda pdf: pdf.set_encryption(
        owner_password="x", encryption_method="AES-128")))
    table.clean("fpdf2 owner only aes256", PDF, letter(change=lambda pdf: pdf.set_encryption(
        owner_password="x", encryption_method="AES-256")))


def page_pdfs(table, folder):
    import weasyprint

    source = ("<html lang=de><head><title>Bericht</title></head><body><h1>Befund</h1><p>%s</p><a href='https://example.org'>x</a>"
              "<h2>Werte</h2><table><tr><td>Hb<td>13</table><svg width=20 height=20><circle r=9 cx=9 cy=9 /></svg>"
              "<form><input name=a><input type=checkbox name=b></form></body></html>" % LETTER.replace("<", "&lt;"))
    page = weasyprint.HTML(string=source)
    for version in ("1.4", "1.7", "2.0"):
        table.clean(f"weasyprint {version}", PDF, page.write_pdf(pdf_version=version))
    table.clean("weasyprint pdf/a-3b", PDF, page.write_pdf(pdf_variant="pdf/a-3b"))
    table.clean("weasyprint pdf/ua-1", PDF, page.write_pdf(pdf_variant="pdf/ua-1"))
    table.clean("weasyprint forms", PDF, page.write_pdf(pdf_forms=True))
    table.clean("weasyprint uncompressed", PDF, page.write_pdf(uncompressed_pdf=True))
    data = weasyprint.Attachment(string="a;b\n1;2\n", name="werte.csv")
    table.clean("weasyprint attachment", PDF, page.write_pdf(attachments=[data]))
    return write(source.encode(), folder, "page.html")


def ghostscript_pdfs(table, folder):
    source = write(table.content["weasyprint 1.7"], folder, "in.pdf")
    for version in ("1.3", "1.4", "1.5", "1.7"):
        run(folder, "gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", f"-dCompatibilityLevel={version}", "-sOutputFile=o.pdf", source)
        table.clean(f"ghostscript {version}", PDF, read(folder, "o.pdf"))
    for device in ("pdfimage24", "pdfimage8", "tiffg4", "tiff32nc", "png16m", "jpegcmyk"):
        run(folder, "gs", "-q", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r60", "-sOutputFile=o.out", source)
        kind = PDF if device.startswith("pdf") else "image/tiff" if device.startswith("tiff") else "image/" + device[:4].rstrip("16")
        table.clean(f"ghostscript {device}", kind, read(folder, "o.out"))
    run(folder, "gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-dCompatibilityLevel=1.4", "-sOwnerPassword=x", "-dEncryptionR=3",
        "-dKeyLength=128", "-dPermissions=-44", "-sOutputFile=o.pdf", source)
    table.clean("ghostscript owner only", PDF, read(folder, "o.pdf"))


def qpdf_pdfs(table, folder):
    source = write(table.content["fpdf2 attachment"], folder, "in.pdf")
    variants = {
        "linearized": ["--linearize"], "object streams": ["--object-streams=generate"], "qdf": ["--qdf"],
        "linearized object streams": ["--linearize", "--object-streams=generate"], "plain streams": ["--stream-data=uncompress"],
        "2.0": ["--min-version=2.0", "--object-streams=generate"], "recompressed": ["--recompress-flate", "--compression-level=9"],
        "owner only r2": ["--allow-weak-crypto", "--encrypt", "", "o", "40", "--"],
        "owner only r3": ["--allow-weak-crypto", "--encrypt", "", "o", "128", "--use-aes=n", "--"],
        "owner only r4": ["--allow-weak-crypto", "--object-streams=generate", "--encrypt", "", "o", "128", "--use-aes=y", "--modify=none", "--"],
        "owner only r4 clear metadata": ["--allow-weak-crypto", "--encrypt", "", "o", "128", "--use-aes=y", "--cleartext-metadata", "--"],
        "owner only r6": ["--object-streams=generate", "--encrypt", "", "o", "256", "--print=low", "--"],
        "owner only r5": ["--encrypt", "", "o", "256", "--force-R5", "--"],
        "owner only r6 linearized": ["--linearize", "--encrypt", "", "o", "256", "--"],
    }
    for name, options in variants.items():
        run(folder, "qpdf", source, *options, "out.pdf", codes=(0, 3))
        table.clean(f"qpdf {name}", PDF, read(folder, "out.pdf"))


def pikepdf_pdfs(table):
    import pikepdf
    from pikepdf import Array, Dictionary, Name, String

    def changed(name, change, **options):
        with pikepdf.open(io.BytesIO(table.content["weasyprint 1.7"])) as pdf:
            change(pdf)
            out = io.BytesIO()
            pdf.save(out, **options)
        return table.clean(name, PDF, out.getvalue())

    def destination(pdf):
        pdf.Root.OpenAction = Array([pdf.pages[0].obj, Name.XYZ, 0, 800, 0])

    def goto(pdf):
        pdf.Root.OpenAction = Dictionary(S=Name.GoTo, D=Array([pdf.pages[0].obj, Name.Fit]))

    def named(pdf):
        pdf.pages[0].Annots = pdf.make_indirect(Array([Dictionary(
            Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 9, 9]), A=Dictionary(S=Name.Named, N=Name.NextPage))]))

    def signature(pdf):
        pdf.Root.AcroForm = Dictionary(SigFlags=3, Fields=Array([pdf.make_indirect(Dictionary(
            FT=Name.Sig, T=String("Unterschrift"), V=Dictionary(Type=Name.Sig, Filter=pikepdf.Name("/Adobe.PPKLite"), Contents=String("00" * 900))))]))

    def layers(pdf):
        group = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("Bild")))
        pdf.Root.OCProperties = Dictionary(OCGs=Array([group]), D=Dictionary(Order=Array([group]), AS=Array([])))

    def metadata(pdf):
        with pdf.open_metadata() as meta:
            meta["dc:title"] = "JavaScript: Befund <x>"

    def attached(pdf):
        pdf.attachments["befund.pdf"] = table.content["reportlab compressed"]
        pdf.attachments["bild.png"] = table.content["png rgb"]

    streams = {"object_stream_mode": pikepdf.ObjectStreamMode.generate}
    changed("pikepdf open to a page", destination)
    changed("pikepdf open action goto", goto, **streams)
    changed("pikepdf named action", named)
    changed("pikepdf signature field", signature, **streams)
    changed("pikepdf layers", layers)
    changed("pikepdf xmp", metadata, **streams)
    changed("pikepdf attachments", attached)
    changed("pikepdf attachments object streams", attached, **streams)
    changed("pikepdf attachments owner only", attached, encryption=pikepdf.Encryption(owner="o", user="", R=6), **streams)


def pypdf_pdfs(table):
    from pypdf import PdfReader, PdfWriter

    source = table.content["reportlab form"]
    writer = PdfWriter(io.BytesIO(source), incremental=True)
    writer.update_page_form_field_values(writer.pages[0], {"name": "Groß"}, auto_regenerate=False)
    out = io.BytesIO()
    writer.write(out)
    table.clean("pypdf incremental update", PDF, out.getvalue())
    writer = PdfWriter()
    for name in ("fpdf2 letter", "weasyprint 2.0", "ghostscript 1.4"):
        writer.append(PdfReader(io.BytesIO(table.content[name])))
    writer.add_metadata({"/Title": "Akte"})
    writer.page_mode = "/UseOutlines"
    out = io.BytesIO()
    writer.write(out)
    table.clean("pypdf merged", PDF, out.getvalue())


def signed_pdf(table):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import signers
    from pyhanko_certvalidator.registry import SimpleCertificateStore
    from asn1crypto import keys
    from asn1crypto import x509 as asn1

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Praxis")])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 7, datetime(2024, 1, 1), datetime(2044, 1, 1)).sign(key, hashes.SHA256())
    secret = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signer = signers.SimpleSigner(asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER)),
                                  keys.PrivateKeyInfo.load(secret), SimpleCertificateStore())
    for source in ("fpdf2 letter", "ghostscript 1.7", "qpdf object streams"):
        writer = IncrementalPdfFileWriter(io.BytesIO(table.content[source]))
        out = signers.sign_pdf(writer, signers.PdfSignatureMetadata(field_name="Unterschrift", reason="Freigabe"), signer)
        table.clean(f"pyhanko signed {source}", PDF, out.getvalue())


def pictures(table):
    from PIL import Image, ImageDraw

    base = Image.radial_gradient("L").resize((220, 160)).convert("RGB")
    ImageDraw.Draw(base).text((10, 10), "Röntgen", fill="white")
    made = {}

    def put(name, kind, image, **options):
        out = io.BytesIO()
        image.save(out, **options)
        made[name] = table.clean(name, kind, out.getvalue())

    put("png rgb", "image/png", base, format="PNG")
    put("png 1 bit", "image/png", base.convert("1"), format="PNG")
    put("png 16 bit", "image/png", base.convert("I;16"), format="PNG")
    put("jpeg rgb", "image/jpeg", base, format="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    put("jpeg cmyk", "image/jpeg", base.convert("CMYK"), format="JPEG")
    put("jpeg progressive", "image/jpg", base, format="JPEG", progressive=True, comment="see <b>")
    put("gif animated", "image/gif", base.convert("P"), format="GIF", save_all=True, append_images=[base.rotate(9).convert("P")])
    put("bmp", "image/bmp", base, format="BMP")
    put("webp", "image/webp", base, format="WEBP")
    more = [base.rotate(turn) for turn in (10, 20, 30)]
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        put(f"tiff pages {packing}", "image/tiff", base, format="TIFF", save_all=True, append_images=more, compression=packing)
    put("tiff cmyk", "image/tiff", base.convert("CMYK"), format="TIFF")
    put("tiff fax", "image/tiff", base.convert("1"), format="TIFF", compression="group4", save_all=True, append_images=[base.convert("1")])
    put("tiff big", "image/tiff", base, format="TIFF", big_tiff=True)
    put("pillow pdf", PDF, base, format="PDF", save_all=True, append_images=more)
    return made


def picture_pdfs(table, folder, made):
    import img2pdf

    table.clean("img2pdf jpeg", PDF, img2pdf.convert(made["jpeg rgb"]))
    table.clean("img2pdf pages", PDF, img2pdf.convert([made["png rgb"], made["jpeg cmyk"], made["png 1 bit"]]))
    table.clean("img2pdf fax", PDF, img2pdf.convert(made["tiff fax"]))
    table.clean("img2pdf pdf/a", PDF, img2pdf.convert(made["jpeg rgb"], pdfa=None))
    source = write(made["tiff pages tiff_lzw"], folder, "scan.tif")
    run(folder, "convert", source, "-compress", "lzw", "tiff:im.tif")
    table.clean("imagemagick tiff lzw", "image/tiff", read(folder, "im.tif"))


def office(table, pictures):
    import docx
    import openpyxl
    import pptx
    import xlsxwriter
    from docx.oxml.ns import qn
    from docx.oxml import OxmlElement
    from odf import opendocument, text
    from odf import table as sheets

    def saved(document):
        out = io.BytesIO()
        document.save(out)
        return out.getvalue()

    letter = docx.Document()
    letter.add_heading("Arztbrief (JavaScript)")
    paragraph = letter.add_paragraph(LETTER)
    letter.add_picture(io.BytesIO(pictures["png rgb"]))
    letter.add_table(2, 2).cell(0, 0).text = "DDEAUTO ist nur ein Wort"
    link = OxmlElement("w:hyperlink")
    link.set(qn("r:id"), letter.part.relate_to("https://example.org", docx.opc.constants.RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
    paragraph._p.append(link)
    letter.sections[0].header.paragraphs[0].text = "Klinikum"
    table.clean("python-docx letter", DOCX, saved(letter))
    book = openpyxl.Workbook()
    for row in range(300):
        book.active.append([f"Wert {row}", row, f"=B{row + 1}*2"])
    book.active["A1"].hyperlink = "https://example.org"
    book.create_sheet("zwei").add_image(openpyxl.drawing.image.Image(io.BytesIO(pictures["png rgb"])))
    table.clean("openpyxl workbook", XLSX, saved(book))
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out)
    sheet = book.add_worksheet()
    sheet.write_url("A1", "https://example.org/")
    sheet.write_comment("A2", "Hinweis")
    chart = book.add_chart({"type": "line"})
    chart.add_series({"values": "=Sheet1!$B$1:$B$5"})
    sheet.insert_chart("D2", chart)
    sheet.insert_button("F9", {"caption": "ohne Makro"})
    book.close()
    table.clean("xlsxwriter chart", XLSX, out.getvalue())
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[0])
    slide.shapes.title.text = "Fall"
    slide.shapes.add_picture(io.BytesIO(pictures["jpeg rgb"]), 0, 0)
    slide.shapes.title.click_action.hyperlink.address = "https://example.org"
    table.clean("python-pptx slides", PPTX, saved(slides))
    written = opendocument.OpenDocumentText()
    written.text.addElement(text.P(text=LETTER))
    table.clean("odfpy text", ODT, saved(written))
    counted = opendocument.OpenDocumentSpreadsheet()
    counted.spreadsheet.addElement(sheets.Table(name="a"))
    table.clean("odfpy sheet", ODS, saved(counted))


def archives(table, folder):
    documents = [("befund.pdf", table.content["fpdf2 letter"]), ("brief/arztbrief.docx", table.content["python-docx letter"]),
                 ("bilder/röntgen.tif", table.content["tiff cmyk"]), ("leer.txt", b""), ("readme.txt", LETTER.encode("latin-1"))]
    table.clean("python zip", ZIP, zipped(documents))
    table.clean("python zip stored", ZIP, zipped(documents, compression=zipfile.ZIP_STORED))
    table.clean("zip in zip", ZIP, zipped([("a.zip", zipped(documents)), ("b.tar.gz", gzip.compress(tarred(documents)))]))

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.out = bytearray()

        def writable(self):
            return True

        def write(self, data):
            self.out += data
            return len(data)

    for packing in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", packing) as archive:
            for name, data in documents:
                with archive.open(name, "w", force_zip64=name.endswith("pdf")) as entry:
                    entry.write(data)
        table.clean(f"python zip streamed {packing}", ZIP, bytes(pipe.out))
    from stream_zip import NO_COMPRESSION_64, ZIP_32, ZIP_64, stream_zip
    for method in (ZIP_32, ZIP_64, NO_COMPRESSION_64):
        entries = ((name, datetime(2024, 1, 1), 0o600, method, iter([data])) for name, data in documents)
        table.clean(f"stream-zip {method.__class__.__name__}{table.rows.__len__()}", ZIP, b"".join(stream_zip(entries)))
    home = os.path.join(folder, "akte")
    os.makedirs(os.path.join(home, "brief"), exist_ok=True)
    os.makedirs(os.path.join(home, "bilder"), exist_ok=True)
    for name, data in documents:
        write(data, home, name)
    for name, words in {"info-zip": ["zip", "-r", "../a.zip", "."], "info-zip stored": ["zip", "-0r", "../a.zip", "."],
                        "info-zip commented": ["zip", "-rz", "../a.zip", "."], "7z zip": ["7z", "a", "-tzip", "../a.zip", "."],
                        "info-zip zip64": ["zip", "-r", "-fz", "../a.zip", "."]}.items():
        run(home, *words, stdin=b"Akte 1\n")
        table.clean(name, ZIP, read(folder, "a.zip"))
        os.remove(os.path.join(folder, "a.zip"))
    table.clean("info-zip to a pipe", ZIP, run(home, "zip", "-r", "-", "."))
    for style in ("ustar", "gnu", "pax", "v7"):
        table.clean(f"gnu tar {style}", TAR, run(home, "tar", "-cf", "-", f"--format={style}", "."))
    table.clean("gnu tar gz", GZIP, run(home, "tar", "-czf", "-", "."))
    table.clean("gzip of a pdf", GZIP, run(home, "gzip", "-c", "befund.pdf"))
    table.clean("python tar long names", TAR, tarred([("ordner/" * 20 + "befund.pdf", documents[0][1])]))


def tarred(entries, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def dicom(data_set_change=lambda data: None, syntax=None, preamble=bytes(128)):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    data = FileDataset("x", {}, file_meta=meta, preamble=preamble)
    data.PatientName, data.Modality, data.Rows, data.Columns = "Groß^J", "CT", 64, 64
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelData = 1, "MONOCHROME2", os.urandom(64 * 64 * 2)
    data.SOPClassUID = SecondaryCaptureImageStorage
    data_set_change(data)
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def encapsulated(document):
    def change(data):
        del data.PixelData
        data.MIMETypeOfEncapsulatedDocument, data.EncapsulatedDocument = PDF, document + bytes(len(document) % 2)
    return change


def medical(table):
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

    kind = "application/dicom"
    table.clean("dicom explicit", kind, dicom())
    table.clean("dicom implicit", kind, dicom(syntax=ImplicitVRLittleEndian))
    table.clean("dicom deflated", kind, dicom(syntax=DeflatedExplicitVRLittleEndian))
    table.clean("dicom tiff preamble", kind, dicom(preamble=b"II*\0\x08\0\0\0" + bytes(120)))
    table.clean("dicom with a pdf", kind, dicom(encapsulated(table.content["fpdf2 letter"])))
    table.clean("dicom folder", ZIP, zipped([("DICOMDIR", dicom()), ("IM/0001", dicom()), ("IM/0002", dicom())]))
    body = ("<ClinicalDocument xmlns='urn:hl7-org:v3' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xmlns:sdtc='urn:hl7-org:sdtc'>"
            "<realmCode code='AT'/><typeId root='2.16.840.1.113883.1.3' extension='POCD_HD000040'/><title>Ärztlicher Befund</title>"
            "<component>%s</component></ClinicalDocument>")
    text = body % ("<structuredBody><component><section><text>CRP &lt; 5 <br/><table border='1'><tbody><tr styleCode='xELGA_red'><td>onload</td></tr>"
                   "</tbody></table><linkHtml href='#befund'>x</linkHtml><renderMultiMedia referencedObject='o1'/></text><entry><observationMedia"
                   " classCode='OBS' moodCode='EVN'><value mediaType='image/png' representation='B64'>"
                   + base64.encodebytes(table.content["png rgb"]).decode() + "</value></observationMedia></entry></section></component></structuredBody>")
    heads = {"utf-8": '<?xml version="1.0" encoding="UTF-8"?>', "latin-1": '<?xml version="1.0" encoding="ISO-8859-1"?>',
             "windows": "<?xml version='1.0' encoding='windows-1252' standalone='yes'?>"}
    sheets = ['<?xml-stylesheet type="text/xsl" href="CDA.xsl"?>', "<?xml-stylesheet href='../xsl/ELGA_Stylesheet_v1.0.xsl' type='text/xsl'?>\n<!-- Befund -->",
              '<?xml-model href="cda.sch"?><?xml-stylesheet type="text/xsl" href="cda.xsl"?>']
    for (name, head), sheet in zip(heads.items(), sheets):
        table.clean(f"cda {name}", XML, (head + sheet + text).encode("utf-8" if name == "utf-8" else "cp1252"))
    table.clean("cda bom", "application/hl7-cda+xml", b"\xef\xbb\xbf" + (heads["utf-8"] + "\r\n" + text).encode())
    table.clean("cda utf-16", XML, ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16"))
    inside = "<nonXMLBody><text mediaType='application/pdf' representation='B64'>%s</text></nonXMLBody>"
    table.clean("cda with a pdf", XML, (heads["utf-8"] + body % (inside % base64.b64encode(table.content["weasyprint 1.7"]).decode())).encode())
    table.clean("cda with a pdf in lines", XML, (heads["utf-8"] + body % (inside % base64.encodebytes(table.content["qpdf linearized"]).decode())).encode())
    table.clean("fhir xml", "application/fhir+xml", b"<?xml version='1.0'?><Patient xmlns='http://hl7.org/fhir'><text><status value='generated'/>"
                b"<div xmlns='http://www.w3.org/1999/xhtml'><p onset='x'>Gro\xc3\x9f <a href='#x'>y</a></p></div></text></Patient>")
    table.clean("fhir json", "application/fhir+json", b'\xef\xbb\xbf{"resourceType":"Patient","text":{"div":"<div><b>x</b></div>"}}')
    table.clean("hl7 v2", "text/plain", "MSH|^~\\&|LAB|KH|||20240101||ORU^R01|1|P|2.5\rPID|1||7||Groß\r".encode("latin-1"))


def texts(table):
    for name, data in {"utf-8": LETTER.encode(), "utf-8 bom": b"\xef\xbb\xbf" + LETTER.encode(), "latin-1": LETTER.encode("latin-1"),
                       "utf-16 le": LETTER.encode("utf-16"), "utf-16 be": b"\xfe\xff" + LETTER.encode("utf-16-be"),
                       "dos": "Befund\r\n\x0cSeite 2\x1a".encode("cp437")}.items():
        table.clean(f"text {name}", TEXT, data)
    table.clean("csv", "text/csv", "Name;Wert\r\nGroß;<5\r\n".encode("cp1252"))
    table.clean("xml with a prefix", XML, b"<a:liste xmlns:a='urn:x' onset='2024'><a:eintrag a:once='1'>x</a:eintrag><!-- script --></a:liste>")
    table.clean("svg", SVG, b"<?xml version='1.0' standalone='no'?><!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' "
                b"'http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd'><svg xmlns='http://www.w3.org/2000/svg'><style><![CDATA[a>b{}]]></style><path d='M0 0'/></svg>")
    table.clean("html", HTML, b"<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>CRP &lt; 5</title><style><!-- p {color:red} --></style></head>"
                b"<body><!-- onload --><p style='x'>Befund <a href='https://example.org'>x</a></body></html>")
    table.clean("rtf", "application/rtf", rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\f0 Befund Gro\'df\par{\field{\*\fldinst HYPERLINK "
                rb'"https://example.org"}{\fldrslt x}}}')


def chromium_pdfs(table, folder, page):
    home = os.path.join(folder, "chromium")
    run(folder, "chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}", "--print-to-pdf=c.pdf", f"file://{page}")
    table.clean("chromium page", PDF, read(folder, "c.pdf"))


def libreoffice_files(table, folder):
    home = f"-env:UserInstallation=file://{folder}/libreoffice"
    plans = [("python-docx letter", "docx", [("pdf", PDF), ("odt", ODT), ("doc", "application/msword"), ("rtf", "application/rtf"), ("docx", DOCX), ("html", HTML)]),
             ("openpyxl workbook", "xlsx", [("pdf", PDF), ("ods", ODS), ("xls", "application/vnd.ms-excel"), ("xlsx", XLSX), ("csv", "text/csv")])]
    for source, ending, targets in plans:
        path = write(table.content[source], folder, f"lo.{ending}")
        for target, kind in targets:
            run(folder, "soffice", home, "--headless", "--convert-to", target, "--outdir", "lo", path)
            table.clean(f"libreoffice {ending} to {target}", kind, read(folder, "lo", f"lo.{target}"))


def make(table, folder, everything):
    made = pictures(table)
    reportlab_pdfs(table)
    fpdf_pdfs(table, made)
    page = page_pdfs(table, folder)
    ghostscript_pdfs(table, folder)
    qpdf_pdfs(table, folder)
    pikepdf_pdfs(table)
    pypdf_pdfs(table)
    signed_pdf(table)
    picture_pdfs(table, folder, made)
    office(table, made)
    archives(table, folder)
    medical(table)
    texts(table)
    if everything:
        chromium_pdfs(table, folder, page)
        libreoffice_files(table, folder)
