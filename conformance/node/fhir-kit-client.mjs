// npm fhir-kit-client: capability statement, create, read, search, next page, operation.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { Client } from 'fhir-kit-client';
import { FHIR, letter, lifecycle, login, register, until } from './session.mjs';

const granted = await login(await register('fhir-kit-client', 'ES384'));
const client = new Client({ baseUrl: FHIR, bearerToken: granted.access_token });

const capability = await client.capabilityStatement();
assert.equal(capability.fhirVersion, '4.0.1');
const offered = capability.rest[0].resource.find((one) => one.type === 'DocumentReference');
assert.ok(offered.interaction.some((one) => one.code === 'search-type'));
const smart = await client.smartAuthMetadata();
assert.equal(String(smart.tokenUrl), `${new URL(FHIR).origin}/auth/token`, 'the client reads the discovery document');

const mrn = randomUUID();
const patient = await client.create({
  resourceType: 'Patient',
  body: { resourceType: 'Patient', identifier: [{ system: 'urn:example:mrn', value: mrn }], name: [{ family: 'Beispiel' }] },
});
assert.equal((await client.read({ resourceType: 'Patient', id: patient.id })).identifier[0].value, mrn);

const texts = ['first', 'second', 'third', 'fourth', 'fifth'];
const made = [];
for (const text of texts) {
  made.push(
    await client.create({
      resourceType: 'DocumentReference',
      body: letter(text, { subject: { reference: `Patient/${patient.id}` } }),
    }),
  );
}
for (const { id } of made) {
  const shown = await until('ready', 60, async () => {
    const read = await client.read({ resourceType: 'DocumentReference', id });
    return lifecycle(read) === 'ready' && read;
  });
  assert.match(shown.content[0].attachment.url, /\/d\//);
  assert.equal(shown.content[0].attachment.data, undefined);
}

const found = [];
let bundle = await client.search({ resourceType: 'DocumentReference', searchParams: { patient: patient.id, _count: 2 } });
for (let page = 0; bundle; page += 1) {
  assert.ok(page < 5, 'paging ends');
  found.push(...bundle.entry.filter((one) => one.search.mode === 'match').map((one) => one.resource.id));
  bundle = await client.nextPage({ bundle });
}
assert.deepEqual([...found].sort(), made.map((one) => one.id).sort(), 'every document once');
const byIdentifier = await client.search({
  resourceType: 'DocumentReference',
  searchParams: { 'patient.identifier': `urn:example:mrn|${mrn}` },
  options: { postSearch: true },
});
assert.equal(byIdentifier.entry.length, texts.length);

const issued = await client.operation({
  name: 'issue-link',
  resourceType: 'DocumentReference',
  id: made[1].id,
  input: { resourceType: 'Parameters', parameter: [{ name: 'lifetime', valueString: '5m' }] },
});
const link = issued.parameter.find((one) => one.name === 'url').valueUrl;
const bytes = Buffer.from(await (await fetch(link)).arrayBuffer());
assert.equal(createHash('sha256').update(bytes).digest('hex'), createHash('sha256').update('second').digest('hex'));

await assert.rejects(client.read({ resourceType: 'DocumentReference', id: randomUUID() }), (error) => {
  assert.equal(error.response.status, 404);
  assert.equal(error.response.data.resourceType, 'OperationOutcome');
  return true;
});
console.log('capability, discovery, create, read, search by GET and POST, next pages, $issue-link');
