#!/usr/bin/env python3
"""Writes the compact tables of FHIR R4 facts that validation and search run on.

    python3 fhir-profiles/generate/generate.py DEFINITIONS

DEFINITIONS is a folder that holds `definitions/*.json` (StructureDefinitions of R4 4.0.1 with snapshots),
`search-parameters.json` (a Bundle of SearchParameters), `valuesets/*.json` ({url, codes: [{system, code}]} or
{url, open: true}) and `compartment-patient.json`. The tables go to `fhir-profiles/r4/`; README.md there says what they
hold. Only the standard library is used, and the same input gives the same bytes.
"""

import html.entities
import json
import pathlib
import re
import sys

VERSION = "4.0.1"
HEAD = f"# FHIR R4 {VERSION}, made by fhir-profiles/generate/generate.py. Do not edit.\n"
BASE = "http://hl7.org/fhir/StructureDefinition/"
VALUE_SETS = "http://hl7.org/fhir/ValueSet/"
MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"

# Value sets without a list of codes: the rule in the server that stands for them.
RULES = {
    "all-languages": "language",
    "bcp13.txt": "mime",
    "currencies": "currency",
    "formats": "format",
    "mimetypes": "mime",
}
# Elements whose short text allows more than their value set: CapabilityStatement.format (xml | json | ttl | mime type).
FORMATS = {"CapabilityStatement.format": "formats"}
# Open value sets of units of measure: no rule (they bind Quantity, whose own invariants apply).
WITHOUT_RULE = {"all-time-units", "all-distance-units"}

# Required bindings whose value sets the folder may lack, from the R4 specification. `check_short` compares each with the
# codes that the element's short text names.
KNOWN = {
    "binding-strength": "required extensible preferred example",
    "care-team-status": "proposed active suspended inactive entered-in-error",
    "compartment-type": "Patient Encounter RelatedPerson Practitioner Device",
    "composition-attestation-mode": "personal professional legal official",
    "consent-data-meaning": "instance related dependents authoredby",
    "consent-provision-type": "deny permit",
    "consent-state-codes": "draft proposed active rejected inactive entered-in-error",
    "constraint-severity": "error warning",
    "device-nametype": "udi-label-name user-friendly-name patient-reported-name manufacturer-name model-name other",
    "device-status": "active inactive entered-in-error unknown",
    "discriminator-type": "value exists pattern type profile",
    "encounter-location-status": "planned active reserved completed",
    "encounter-status": "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown",
    "endpoint-status": "active suspended error off entered-in-error test",
    "episode-of-care-status": "planned waitlist active onhold finished cancelled entered-in-error",
    "group-type": "person animal practitioner device medication substance",
    "location-mode": "instance kind",
    "location-status": "active suspended inactive",
    "operation-kind": "operation query",
    "property-representation": "xmlAttr xmlText typeAttr cdaText xhtml",
    "provenance-entity-role": "derivation revision quotation source removal",
    "reference-version-rules": "either independent specific",
    "resource-aggregation-mode": "contained referenced bundled",
    "resource-slicing-rules": "closed open openAtEnd",
    "search-comparator": "eq ne gt lt ge le sa eb ap",
    "search-modifier-code": "missing exact contains not text in not-in below above type identifier ofType",
    "search-xpath-usage": "normal phonetic nearby distance other",
    "udi-entry-type": "barcode rfid manual card self-reported unknown",
    "v3-ConfidentialityClassification": "U L M N R V",
}


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def short_name(url):
    return url.split("|")[0].rsplit("/", 1)[1]


def fail(text):
    sys.exit(f"generate.py: {text}")


class Codes:
    """Value sets that a required binding reaches."""

    def __init__(self, folder):
        self.sets = {}
        for path in sorted(folder.glob("*.json")):
            found = load(path)
            name = short_name(found["url"])
            if found.get("open"):
                self.sets[name] = None
            else:
                self.sets[name] = list(dict.fromkeys(row["code"] for row in found["codes"]))
        for name, codes in KNOWN.items():
            self.sets.setdefault(name, codes.split())
        self.sets.update((name, None) for name in FORMATS.values())
        self.used = {"resource-types"}

    def name_of(self, element):
        """The value set whose codes an element must use, or ''."""
        binding = element.get("binding")
        if not binding:
            return ""
        most = [row["valueCanonical"] for row in binding.get("extension", []) if row["url"] == MAX_VALUE_SET]
        url = most[0] if most else binding.get("valueSet") if binding["strength"] == "required" else None
        if not url:
            return ""
        name = FORMATS.get(element["path"], short_name(url))
        if name in WITHOUT_RULE:
            return ""
        if name not in self.sets:
            fail(f"{element['path']}: no codes for {url}")
        if name in KNOWN:
            self.check_short(name, element)
        self.used.add(name)
        return name

    def check_short(self, name, element):
        named = re.split(r"\s*\|\s*", re.sub(r"\+$", "", element.get("short", "")).strip())
        if len(named) < 2:
            return
        for code in named:
            if re.fullmatch(r"[A-Za-z-]+", code) and code not in self.sets[name]:
                fail(f"{element['path']}: short text names {code}, {name} does not")

    def rows(self):
        for name in sorted(self.used):
            codes = self.sets[name]
            if codes is None:
                yield f"{name}\trule\t{RULES[name]}"
            else:
                yield f"{name}\tcodes\t{' '.join(codes)}"


def type_name(element, row):
    """The FHIR type of one `type` row, with reference targets."""
    code = row["code"]
    if code.startswith("http://hl7.org/fhirpath/"):
        return "id" if element["base"]["path"] == "Resource.id" else "uri" if element["path"].endswith(".url") else "string"
    if code == "Quantity" and row.get("profile"):
        return short_name(row["profile"][0])
    if code == "Reference":
        targets = [short_name(url) for url in row.get("targetProfile", [])]
        if targets and "Resource" not in targets:
            return f"Reference({'|'.join(targets)})"
    return code


class Shapes:
    """Rows of elements.tsv: one shape for each type and each backbone element."""

    def __init__(self, codes):
        self.codes = codes
        self.lines = []

    def add(self, definition):
        elements = definition["snapshot"]["element"]
        root, name = elements[0]["path"], definition["id"]
        kind = {"resource": "resource", "complex-type": "datatype"}[definition["kind"]]
        if definition["abstract"]:
            kind = "abstract"
        parents = {row["path"].rsplit(".", 1)[0] for row in elements if "." in row["path"]}
        for path in dict.fromkeys(row["path"] for row in elements if row["path"] in parents):
            shape = name + path[len(root):]
            self.lines.append(f"*{shape}\t{kind if path == root else 'backbone'}")
            rows = [row for row in elements if row["path"].rsplit(".", 1)[0] == path and row["path"] != path]
            if len(rows) > 64:
                fail(f"{shape} has more than 64 elements")
            self.lines.extend(self.element(row, shape, parents) for row in rows)

    def element(self, row, shape, parents):
        name = row["path"].rsplit(".", 1)[1]
        if "contentReference" in row:
            types = "@" + row["contentReference"].split("#")[1]
        elif row["path"] in parents:
            types = f"@{shape}.{name}"
        else:
            types = ",".join(dict.fromkeys(type_name(row, one) for one in row["type"]))
        flags = ("m" if row.get("isModifier") else "") + ("s" if row.get("isSummary") else "")
        meaning = re.sub(r"\s+", " ", row.get("short", "")).strip() if row["min"] else ""
        fields = [name, str(row["min"]), row["max"], types, flags, self.codes.name_of(row), meaning]
        return "\t".join(fields).rstrip("\t")


def alternatives(expression):
    """Splits a FHIRPath expression at `|` outside of brackets."""
    depth, start = 0, 0
    for at, char in enumerate(expression):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            yield expression[start:at].strip()
            start = at + 1
    yield expression[start:].strip()


def search_rows(bundle, known):
    for entry in sorted(bundle["entry"], key=lambda row: row["resource"]["url"]):
        found = entry["resource"]
        for base in found["base"]:
            if base not in known or "expression" not in found and base not in ("Resource", "DomainResource"):
                continue
            parts = [part for part in alternatives(found.get("expression", ""))
                     if len(found["base"]) == 1 or re.match(rf"\(*{base}\b", part)]
            targets = "|".join(found.get("target", []))
            comparators = "|".join(found.get("comparator", []))
            modifiers = "|".join(found.get("modifier", []))
            yield "\t".join([base, found["code"], found["type"], targets, comparators, modifiers, found["url"],
                             " | ".join(parts)])


def compartment_rows(definition, known):
    for row in definition["resource"]:
        if row["code"] in known:
            yield f"{row['code']}\t{'|'.join(row.get('param', []))}".rstrip("\t")


def write(path, title, columns, lines):
    path.write_text(f"{HEAD}# {title}\n# {columns}\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def main():
    if len(sys.argv) != 2:
        fail("usage: generate.py DEFINITIONS")
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).resolve().parent.parent / "r4"
    target.mkdir(exist_ok=True)
    definitions = [load(path) for path in sorted((source / "definitions").glob("*.json"))]
    codes, known = Codes(source / "valuesets"), {row["id"] for row in definitions}
    shapes = Shapes(codes)
    for definition in definitions:
        if definition["fhirVersion"] != VERSION:
            fail(f"{definition['id']} is not of FHIR {VERSION}")
        if definition["kind"] != "primitive-type":
            shapes.add(definition)
    write(target / "elements.tsv", "Types and their elements; a choice ends in [x].",
          "*shape, kind / element, min, max, types (@ another shape), flags (m modifier, s summary), codes, meaning",
          shapes.lines)
    write(target / "codes.tsv", "Codes of required bindings and of maximum value sets.", "value set, how, codes or rule",
          codes.rows())
    write(target / "search-parameters.tsv", "Search parameters, one row for each base.",
          "base, code, type, targets, comparators, modifiers, canonical, expression",
          sorted(search_rows(load(source / "search-parameters.json"), known)))
    write(target / "compartment-patient.tsv", "Patient compartment: parameters that put a resource into it.",
          "resource type, parameters", compartment_rows(load(source / "compartment-patient.json"), known))
    write(target / "html-entities.tsv", "Entities of HTML 4 that a narrative may use (from Python's html.entities).",
          "name", sorted(html.entities.name2codepoint))


if __name__ == "__main__":
    main()
