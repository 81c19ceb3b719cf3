// Backend Services login by openid-client and by assertions that jose signs (ES384 and RS384), and the refusals that go with them.
import assert from 'node:assert/strict';
import * as jose from 'jose';
import { BASE, FHIR, SCOPE, assertion, exchange, login, register } from './session.mjs';

const smart = await (await fetch(`${FHIR}/.well-known/smart-configuration`)).json();
assert.deepEqual([...smart.token_endpoint_auth_signing_alg_values_supported].sort(), ['ES384', 'RS384']);
assert.ok(smart.capabilities.includes('client-confidential-asymmetric'));

for (const alg of ['ES384', 'RS384']) {
  const client = await register(`login-${alg.toLowerCase()}`, alg);

  // openid-client: discovery, assertion, grant.
  const granted = await login(client);
  assert.equal(granted.token_type.toLowerCase(), 'bearer');
  assert.ok(granted.expires_in > 0 && granted.expires_in <= 300, `expires_in ${granted.expires_in}`);

  // The token verifies against the published keys, in an implementation that is not ours.
  const keys = jose.createRemoteJWKSet(new URL(smart.jwks_uri));
  const { payload } = await jose.jwtVerify(granted.access_token, keys, { issuer: BASE, audience: FHIR, typ: 'at+jwt' });
  assert.equal(payload.client_id, client.id);

  // jose: both audiences that name this server, once each.
  for (const aud of [smart.token_endpoint, BASE]) {
    const signed = await assertion(client, { aud });
    const first = await exchange(signed);
    assert.equal(first.status, 200, JSON.stringify(first.body));
    assert.equal(first.headers.get('cache-control'), 'no-store');
    assert.deepEqual(first.body.scope.split(' ').sort(), SCOPE.split(' ').sort());
    const again = await exchange(signed);
    assert.deepEqual([again.status, again.body.error], [401, 'invalid_client'], 'an assertion works once');
  }

  const now = Math.floor(Date.now() / 1000);
  const refused = [
    ['another audience', { aud: 'https://other.example/token' }],
    ['several audiences', { aud: [smart.token_endpoint, BASE] }],
    ['too long', { exp: now + 3600 }],
    ['over', { exp: now - 120 }],
    ['no jti', { jti: undefined }],
    ['another subject', { sub: 'somebody-else' }],
    ['another issuer', { iss: 'somebody-else', sub: 'somebody-else' }],
  ];
  for (const [what, claims] of refused) {
    const answer = await exchange(await assertion(client, claims));
    assert.deepEqual([answer.status, answer.body.error], [401, 'invalid_client'], what);
  }
  const stranger = await jose.generateKeyPair(alg);
  const foreign = await exchange(await assertion({ ...client, key: stranger.privateKey }));
  assert.deepEqual([foreign.status, foreign.body.error], [401, 'invalid_client'], 'another key');
  const bare = await exchange(await assertion(client), null);
  assert.deepEqual([bare.status, bare.body.error], [400, 'invalid_scope'], 'SMART Backend Services: scope is required');
}
console.log('discovery, openid-client and jose, ES384 and RS384, replay and eight wrong assertions refused');
