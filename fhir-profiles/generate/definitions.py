"""Writes this server's own definitions, fhir-profiles/daylily/*.json. Texts are kept here; the error CodeSystem is not made
here but from the program's table of codes (`fhir::definitions` holds it to the committed file)."""

import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent.parent / "daylily"
BASE = "urn:daylily:fhir/"
DATE = "2026-11-23"


def head(kind, ident, name, title, description):
    return {
        "resourceType": kind, "id": ident, "url": f"{BASE}{kind}/{ident}", "version": "0.1.0", "name": name, "title": title,
        "status": "active", "date": DATE, "publisher": "Daylily", "description": description,
    }


def write(resource):
    path = OUT / f"{resource['resourceType']}-{resource['id']}.json"
    path.write_text(json.dumps(resource, indent=1, ensure_ascii=False) + "\n")


def extension(ident, name, title, description, context, value_type):
    resource = head("StructureDefinition", ident, name, title, description)
    resource |= {
        "fhirVersion": "4.0.1", "kind": "complex-type", "abstract": False,
        "context": [{"type": "element", "expression": context}], "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension", "derivation": "constraint",
        "differential": {"element": [
            {"id": "Extension", "path": "Extension", "short": title, "definition": description},
            {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
            {"id": "Extension.url", "path": "Extension.url", "fixedUri": resource["url"]},
            {"id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1, "type": [{"code": value_type}]},
        ]},
    }
    write(resource)


def parameter(name, use, minimum, maximum, kind, text, parts=None):
    made = {"name": name, "use": use, "min": minimum, "max": maximum, "documentation": text}
    if parts:
        made["part"] = parts
    else:
        made["type"] = kind
    return made


def operation(ident, name, title, description, affects, parameters, resource_type="DocumentReference"):
    resource = head("OperationDefinition", ident, name, title, description)
    resource |= {"kind": "operation", "affectsState": affects, "code": ident, "resource": [resource_type],
                 "system": False, "type": False, "instance": True, "parameter": parameters}
    write(resource)


TOPIC = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
# What search serves on DocumentReference, less what no event can be asked (`fhir::subscription` reads the same list).
FILTERS = ["_id", "patient", "subject", "status", "type", "category", "date", "identifier", "encounter", "custodian",
           "lifecycle", "patient.identifier"]


def topic(ident, title, description, state):
    """A SubscriptionTopic as R4 has it: a Basic with R5's elements as extensions (Subscriptions R5 Backport guide)."""
    def simple(name, kind, value):
        return {"url": TOPIC + name, kind: value}

    def part(name, kind, value):
        return {"url": name, kind: value}

    lifecycle = "extension.where(url='urn:daylily:fhir/StructureDefinition/lifecycle').value"
    criteria = f"%current.{lifecycle} = '{state}' and (%previous.empty() or %previous.{lifecycle} != '{state}')"
    resource_type = "http://hl7.org/fhir/StructureDefinition/DocumentReference"
    trigger = {"url": TOPIC + "resourceTrigger", "extension": [
        part("description", "valueMarkdown", description), part("resource", "valueUri", resource_type),
        part("supportedInteraction", "valueCode", "update"), part("fhirPathCriteria", "valueString", criteria)]}
    filters = [{"url": TOPIC + "canFilterBy", "extension": [
        part("resource", "valueUri", "DocumentReference"), part("filterParameter", "valueString", name)]} for name in FILTERS]
    shape = {"url": TOPIC + "notificationShape", "extension": [part("resource", "valueUri", "DocumentReference")]}
    write({
        "resourceType": "Basic", "id": ident,
        "extension": [simple("url", "valueUri", f"{BASE}SubscriptionTopic/{ident}"), simple("version", "valueString", "0.1.0"),
                      simple("title", "valueString", title), simple("date", "valueDateTime", DATE),
                      simple("description", "valueMarkdown", description), trigger, *filters, shape],
        "modifierExtension": [simple("status", "valueCode", "active")],
        "code": {"coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}]},
    })


def main():
    OUT.mkdir(exist_ok=True)
    extension("lifecycle", "DaylilyLifecycle", "Where the document stands",
              "State of the document on this server: created, scanned, ready, delivered, expired, purged, quarantined or revoked. "
              "Kept by the server; what a client sends is ignored.", "DocumentReference", "code")
    extension("recipient", "DaylilyRecipient", "A client that is to receive the document",
              "Names a registered client: system urn:daylily:fhir/client, value the client's id. It may read the document.",
              "DocumentReference", "Identifier")
    extension("sha256", "DaylilySha256", "SHA-256 of the file",
              "SHA-256 of the file's bytes as 64 lower-case hexadecimal digits. Checked on create, written by the server.",
              "Attachment", "string")
    extension("expires", "DaylilyExpires", "When access ends",
              "The document can be opened until then. Written by the server into notifications; what a client sends is ignored.",
              "DocumentReference", "instant")
    extension("access-reference", "DaylilyAccessReference", "Reference of the event that told of the document",
              "Id of the Subscription, a slash, and the number of the event. It gives no right: $issue-link with it still needs "
              "the client's own token.", "DocumentReference", "string")
    search = head("SearchParameter", "lifecycle", "lifecycle", "Search by state", "Where the document stands on this server.")
    search |= {"code": "lifecycle", "base": ["DocumentReference"], "type": "token",
               "expression": "DocumentReference.extension.where(url='urn:daylily:fhir/StructureDefinition/lifecycle').value",
               "xpathUsage": "normal", "multipleOr": True, "multipleAnd": True}
    write(search)
    label = head("CodeSystem", "retention-label", "DaylilyRetentionLabel", "Retention labels",
                 "How long a document can be opened, as policies write it: a whole number and s, m, h or d (72h, 7d). "
                 "The codes are this grammar and are not listed.")
    label |= {"caseSensitive": True, "content": "not-present"}
    write(label)
    rule = head("CodeSystem", "policy-rule", "DaylilyPolicyRule", "Policy rules",
                "The name of the policy rule that decided about a document. The codes are the rules of the deployment's policy.")
    rule |= {"caseSensitive": True, "content": "not-present"}
    write(rule)
    operation("issue-link", "IssueLink", "Make a link", "Makes a signed link to one file of the document, within the policy's limits.", True, [
        parameter("content", "in", 0, "1", "positiveInt", "Which content entry, counted from 1; 1 when absent."),
        parameter("lifetime", "in", 0, "1", "string", "How long it works (15m); the policy's lifetime when absent."),
        parameter("url", "out", 1, "1", "url", "The link. Whoever holds it can open the file."),
        parameter("expires", "out", 1, "1", "instant", "Its last second."),
        parameter("link", "out", 1, "1", "string", "Its id, safe to log."),
    ])
    operation("revoke", "Revoke", "End links", "Ends one link, or all links to the document given so far.", True, [
        parameter("reason", "in", 0, "1", "string", "Why, for the record."),
        parameter("link", "in", 0, "1", "string", "Id of the one link to end."),
        parameter("state", "in", 0, "1", "boolean", "true: the document becomes revoked as well, for good."),
        parameter("revoked", "out", 1, "1", "integer", "How many links worked until now."),
    ])
    step = [
        parameter("from", "out", 0, "1", "code", "State before; absent for the creation."),
        parameter("to", "out", 1, "1", "code", "State after."),
        parameter("at", "out", 1, "1", "instant", "When."),
        parameter("actor", "out", 0, "1", "string", "Who: server, client/ID or os:UID."),
        parameter("reason", "out", 0, "1", "string", "Why."),
    ]
    operation("lifecycle", "Lifecycle", "What happened to the document", "The document's states so far, oldest first; GET too.", False, [
        parameter("wait", "in", 0, "1", "string", "Answer at the next change, or after this long (30s)."),
        parameter("transition", "out", 0, "*", None, "One change of state.", step),
    ])
    operation("acknowledge", "Acknowledge", "Say what became of the document",
              "A recipient says that it has imported the document into its own records, or that it does not take it.", True, [
        parameter("outcome", "in", 1, "1", "code", "imported or rejected."),
        parameter("note", "in", 0, "1", "string", "The recipient's own words, for the record."),
        parameter("return", "out", 1, "1", "DocumentReference", "The document as it is now."),
    ])
    operation("webhook-secret", "WebhookSecret", "Replace the signing secret",
              "Makes a new secret that notifications are signed with (Standard Webhooks) and shows it, once. For the "
              "Subscription's owner.", True, [
                  parameter("overlap", "in", 0, "1", "string", "How long the old secret signs too (0s to 7d); 24h when absent."),
                  parameter("secret", "out", 1, "1", "string", "whsec_ and the secret in base64. Keep it safe: it is not shown again."),
              ], "Subscription")
    topic("document-ready", "Document ready", "A document passed its checks and can be opened.", "ready")
    topic("document-expired", "Document expired", "A document's time is over; it can no longer be opened.", "expired")
    topic("document-revoked", "Document revoked", "Access to a document was withdrawn for good.", "revoked")
    topic("document-quarantined", "Document quarantined", "A document is held back after the safety check.", "quarantined")


main()
