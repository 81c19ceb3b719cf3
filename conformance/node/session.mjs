// What the JavaScript parts share: a client registered with a key that jose made, and its login by openid-client. The environment
// names the server: DAYLILY (the binary), DATA (its folder), BASE (its URL), WORK (a folder for keys).
import { execFileSync } from 'node:child_process';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as jose from 'jose';
import * as oidc from 'openid-client';

export const { DAYLILY, DATA, BASE, WORK } = process.env;
export const FHIR = `${BASE}/fhir`;
export const SCOPE = 'system/DocumentReference.crus system/Binary.cr system/Patient.crus';

/** Registers a client whose key pair is made here; its private half never reaches the server. */
export async function register(id, alg, extra = []) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const kid = await jose.calculateJwkThumbprint(await jose.exportJWK(publicKey));
  const file = join(WORK, `${id}.jwks.json`);
  writeFileSync(file, JSON.stringify({ keys: [{ ...(await jose.exportJWK(publicKey)), kid, alg, use: 'sig' }] }));
  execFileSync(DAYLILY, ['client', 'add', '--id', id, '--scope', SCOPE, '--jwks', file, '--data-dir', DATA, ...extra], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return { id, alg, kid, key: privateKey };
}

/** Discovery and login with openid-client: its own request, its own assertion (one audience as the server wants it). */
export async function login(client, scope = SCOPE) {
  const smart = await (await fetch(`${FHIR}/.well-known/smart-configuration`)).json();
  const configuration = await oidc.discovery(
    new URL(BASE),
    client.id,
    {},
    oidc.PrivateKeyJwt({ key: client.key, kid: client.kid }, {
      // openid-client names an array of audiences by default; SMART and RFC 7523bis want one.
      [oidc.modifyAssertion]: (header, payload) => {
        header.typ = 'JWT';
        payload.aud = smart.token_endpoint;
        payload.exp = payload.iat + 240;
      },
    }),
    { execute: [oidc.allowInsecureRequests], algorithm: 'oidc' },
  );
  assert.equal(configuration.serverMetadata().token_endpoint, smart.token_endpoint);
  return oidc.clientCredentialsGrant(configuration, { scope });
}

/** An assertion signed by jose, with claims changed as told. */
export async function assertion(client, claims = {}, header = {}) {
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: client.id, sub: client.id, aud: `${BASE}/auth/token`, exp: now + 240, jti: crypto.randomUUID(), ...claims };
  return new jose.SignJWT(all).setProtectedHeader({ alg: client.alg, kid: client.kid, typ: 'JWT', ...header }).sign(client.key);
}

/** The token endpoint's answer to an assertion. */
export async function exchange(client_assertion, scope = SCOPE) {
  const answer = await fetch(`${BASE}/auth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      ...(scope && { scope }),
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion,
    }),
  });
  return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

export function letter(text, more = {}) {
  return {
    resourceType: 'DocumentReference',
    status: 'current',
    content: [{ attachment: { contentType: 'text/plain', title: 'Letter', data: Buffer.from(text).toString('base64') } }],
    ...more,
  };
}

/** Asks until `probe` answers something, at most `seconds`. */
export async function until(what, seconds, probe) {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    assert.ok(performance.now() < deadline, `${what}: not within ${seconds} s`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

export const lifecycle = (resource) =>
  resource.extension?.find((one) => one.url === 'urn:daylily:fhir/StructureDefinition/lifecycle')?.valueCode;
