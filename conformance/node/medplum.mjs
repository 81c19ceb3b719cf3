// npm @medplum/core: its own client-credentials login, create, read, search, file up and down.
//
// `startJwtAssertionLogin` sends no `scope`, which SMART Backend Services requires: that is refused, and shown to be. The login that
// works is the same code of the client (`fetchTokens`, which that method wraps) with the scope added; it checks and keeps the token itself.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { MedplumClient } from '@medplum/core';
import { BASE, SCOPE, assertion, letter, lifecycle, register, until } from './session.mjs';

const registered = await register('medplum-core', 'RS384');
const medplum = new MedplumClient({
  baseUrl: `${BASE}/`, fhirUrlPath: 'fhir', tokenUrl: `${BASE}/auth/token`, clientId: registered.id, cacheTime: 0,
});
await assert.rejects(medplum.startJwtAssertionLogin(await assertion(registered)), 'without a scope');
await medplum.fetchTokens({
  grant_type: 'client_credentials',
  scope: SCOPE,
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: await assertion(registered),
});
assert.ok(medplum.getAccessToken());

const mrn = randomUUID();
const patient = await medplum.createResource({
  resourceType: 'Patient', identifier: [{ system: 'urn:example:mrn', value: mrn }], name: [{ family: 'Muster', given: ['Erika'] }],
});
assert.equal((await medplum.readResource('Patient', patient.id)).name[0].family, 'Muster');

const text = 'A file by Medplum.\n'.repeat(9000);
const binary = await medplum.createBinary({ data: text, filename: 'report.txt', contentType: 'text/plain' });
assert.equal(binary.resourceType, 'Binary');
const document = await medplum.createResource({
  resourceType: 'DocumentReference',
  status: 'current',
  subject: { reference: `Patient/${patient.id}` },
  content: [{ attachment: { contentType: 'text/plain', url: `Binary/${binary.id}` } }],
});
await medplum.createResource(letter('inline', { subject: { reference: `Patient/${patient.id}` } }));
const ready = await until('ready', 60, async () => {
  const read = await medplum.readResource('DocumentReference', document.id, { cache: 'reload' });
  return lifecycle(read) === 'ready' && read;
});
assert.equal(ready.content[0].attachment.size, text.length);
const bytes = await medplum.download(ready.content[0].attachment.url);
assert.equal(await bytes.text(), text, 'by the link, with the bearer header that this client sends along');
const direct = await medplum.download(`${BASE}/fhir/Binary/${binary.id}`);
assert.equal(await direct.text(), text, 'by the Binary, with the token');

const byIdentifier = await medplum.searchResources('DocumentReference', { 'patient.identifier': `urn:example:mrn|${mrn}` });
assert.equal(byIdentifier.length, 2);
const documents = await medplum.searchResources('DocumentReference', { patient: `Patient/${patient.id}`, _sort: '-_lastUpdated' });
assert.equal(documents.length, 2);
const pages = [];
for await (const page of medplum.searchResourcePages('DocumentReference', { patient: `Patient/${patient.id}`, _count: '1' })) {
  pages.push(...page.map((one) => one.id));
}
assert.deepEqual([...pages].sort(), documents.map((one) => one.id).sort());

const issued = await medplum.post(medplum.fhirUrl('DocumentReference', document.id, '$issue-link'), { resourceType: 'Parameters' });
assert.match(issued.parameter.find((one) => one.name === 'url').valueUrl, /\/d\//);
await assert.rejects(medplum.readResource('Patient', randomUUID()), (error) => {
  assert.equal(error.outcome.resourceType, 'OperationOutcome');
  return true;
});
console.log('own login (scope added), create, read, search, pages, file up and down, $issue-link');
