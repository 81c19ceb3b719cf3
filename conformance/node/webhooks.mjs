// A receiver whose deliveries the standardwebhooks library of JavaScript verifies. Prints its port, then a line of JSON for each request.
// The secrets are read anew from the file in SECRETS (one a line) each time: a receiver that rotates has two for a while.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { Webhook } from 'standardwebhooks';

const server = createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString('utf8');
    const secrets = readFileSync(process.env.SECRETS, 'utf8').split('\n').filter(Boolean);
    const verified = secrets.map((secret) => {
      try {
        new Webhook(secret).verify(body, request.headers);
        return true;
      } catch {
        return false;
      }
    });
    // What a library must not take: the same body with one letter changed.
    let forged = false;
    try {
      new Webhook(secrets[0]).verify(`${body} `, request.headers);
      forged = true;
    } catch {}
    console.log(JSON.stringify({ id: request.headers['webhook-id'], verified, forged, body }));
    response.writeHead(200, { 'Content-Length': '0' }).end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
