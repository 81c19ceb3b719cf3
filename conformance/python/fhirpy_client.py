"""PyPI fhirpy, sync and async, logged in by assertions that PyJWT signs (ES384 and RS384).

fhirpy has no login of its own: it is given the Authorization header. The environment names the server as for the JavaScript parts.
"""
import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import uuid

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

DAYLILY, DATA, BASE, WORK = (os.environ[name] for name in ("DAYLILY", "DATA", "BASE", "WORK"))
FHIR = f"{BASE}/fhir"
SCOPE = "system/DocumentReference.crus system/Binary.cr system/Patient.crus"
LIFECYCLE = "urn:daylily:fhir/StructureDefinition/lifecycle"


def login(name, algorithm):
    """Registers a client whose key is made here, and gets a token for it as the discovery document says."""
    key = ec.generate_private_key(ec.SECP384R1()) if algorithm == "ES384" else rsa.generate_private_key(65537, 3072)
    maker = jwt.algorithms.ECAlgorithm if algorithm == "ES384" else jwt.algorithms.RSAAlgorithm
    public = {**json.loads(maker.to_jwk(key.public_key())), "kid": f"{name}-1", "alg": algorithm, "use": "sig"}
    path = os.path.join(WORK, f"{name}.jwks.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"keys": [public]}, file)
    subprocess.run(
        [DAYLILY, "client", "add", "--id", name, "--scope", SCOPE, "--jwks", path, "--data-dir", DATA],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
    )
    smart = requests.get(f"{FHIR}/.well-known/smart-configuration", timeout=10).json()
    assert algorithm in smart["token_endpoint_auth_signing_alg_values_supported"]
    claims = {"iss": name, "sub": name, "aud": smart["token_endpoint"], "exp": int(time.time()) + 240, "jti": str(uuid.uuid4())}
    answer = requests.post(smart["token_endpoint"], timeout=10, data={
        "grant_type": "client_credentials", "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, key, algorithm=algorithm, headers={"kid": f"{name}-1"}),
    })
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    # A second opinion on what we sign: PyJWT against the published keys.
    published = jwt.PyJWKClient(smart["jwks_uri"]).get_signing_key_from_jwt(token)
    read = jwt.decode(token, published, algorithms=["ES256"], audience=FHIR, issuer=BASE)
    assert read["client_id"] == name
    return f"Bearer {token}"


def state(resource):
    return next((one["valueCode"] for one in resource.get("extension", []) if one["url"] == LIFECYCLE), None)


def document(patient, text):
    data = base64.b64encode(text.encode()).decode()
    return {
        "status": "current", "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": "text/plain", "title": "Brief", "data": data}}],
    }


def check_link(issued, text):
    url = next(one["valueUrl"] for one in issued["parameter"] if one["name"] == "url")
    got = requests.get(url, timeout=30)
    assert got.status_code == 200
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(text.encode()).digest()


def synchronous():
    client = SyncFHIRClient(FHIR, authorization=login("fhirpy-sync", "ES384"))
    mrn = str(uuid.uuid4())
    patient = client.resource("Patient", identifier=[{"system": "urn:example:mrn", "value": mrn}], name=[{"family": "Musterfrau"}])
    patient.save()
    patient["name"] = [{"family": "Musterfrau", "given": ["Erika"]}]
    patient.save()
    assert client.reference("Patient", patient.id).to_resource()["name"][0]["given"] == ["Erika"]
    made = []
    for number in range(5):
        made.append(client.resource("DocumentReference", **document(patient.id, f"sync {number}")))
        made[-1].create()
    deadline = time.monotonic() + 60
    for one in made:
        while state(one) != "ready":
            assert time.monotonic() < deadline, "not ready within 60 s"
            one.refresh()
    found = client.resources("DocumentReference").search(patient=patient.id).limit(2).fetch_all()
    assert sorted(one.id for one in found) == sorted(one.id for one in made)
    by_identifier = client.resources("DocumentReference").search(**{"patient__identifier": f"urn:example:mrn|{mrn}"}).fetch()
    assert len(by_identifier) == 5
    check_link(made[3].execute("$issue-link", method="post", data={"resourceType": "Parameters"}), "sync 3")
    try:
        client.reference("DocumentReference", str(uuid.uuid4())).to_resource()
        raise AssertionError("a document that is not there was read")
    except ResourceNotFound:
        pass
    try:
        client.resource("DocumentReference", status="no such status").create()
        raise AssertionError("a wrong code was taken")
    except OperationOutcome as refused:
        assert refused.resource["issue"]


async def asynchronous():
    client = AsyncFHIRClient(FHIR, authorization=login("fhirpy-async", "RS384"))
    patient = client.resource("Patient", name=[{"family": "Mustermann"}])
    await patient.save()
    made = [client.resource("DocumentReference", **document(patient.id, f"async {number}")) for number in range(6)]
    await asyncio.gather(*(one.create() for one in made))
    deadline = time.monotonic() + 60
    for one in made:
        while state(one) != "ready":
            assert time.monotonic() < deadline, "not ready within 60 s"
            await one.refresh()
    found = [one.id async for one in client.resources("DocumentReference").search(patient=patient.id).limit(2)]
    assert sorted(found) == sorted(one.id for one in made)
    check_link(await made[2].execute("$issue-link", method="post", data={"resourceType": "Parameters"}), "async 2")


if __name__ == "__main__":
    {"sync": synchronous, "async": lambda: asyncio.run(asynchronous())}[sys.argv[1]]()
    print("login by PyJWT, create, update, read, search, pages, $issue-link")
