// Pages of links in a real browser at phone size: a link downloads and does not render; the confirm page works without script and by
// keyboard alone; scanners and previews use nothing up; screenshots of every page go to the folder given as argument.
//
//   node pages.mjs SCREENSHOTS
import { execFile } from 'node:child_process';
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { BASE, FHIR, login, register } from './session.mjs';

const SHOTS = process.argv[2];
const PHONE = { width: 390, height: 844 };
const run = promisify(execFile);
mkdirSync(SHOTS, { recursive: true });

const source = await register(`pages-${process.pid}`, 'ES384');
const { access_token } = await login(source);

async function fhir(method, path, body) {
  const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/fhir+json' };
  const answer = await fetch(`${FHIR}/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** A page with one line, as the PDF reference writes the smallest of them. */
function pdf() {
  const filler = `% ${'x'.repeat(76)}\n`.repeat(3600);
  return Buffer.from(`%PDF-1.4\n${filler}1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n`
    + '3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n');
}

async function document(contentType, bytes) {
  const attachment = { contentType, title: 'Secret title.pdf', data: bytes.toString('base64') };
  const { id } = await fhir('POST', 'DocumentReference', { resourceType: 'DocumentReference', status: 'current', content: [{ attachment }] });
  return id;
}

async function state(id, wanted) {
  for (let round = 0; round < 60; round += 1) {
    const steps = await fhir('GET', `DocumentReference/${id}/$lifecycle?wait=2s`);
    const states = steps.parameter.flatMap((step) => step.part ?? []).filter((part) => part.name === 'to').map((part) => part.valueCode);
    if (states.includes(wanted)) return;
  }
  assert.fail(`${id} was never ${wanted}`);
}

async function issue(id, parameter) {
  const answer = await fhir('POST', `DocumentReference/${id}/$issue-link`, { resourceType: 'Parameters', parameter });
  return answer.parameter.find((one) => one.name === 'url').valueUrl;
}

const uses = { name: 'uses', valuePositiveInt: 1 };
const confirm = { name: 'confirm', valueBoolean: true };
const lifetime = (valueString) => ({ name: 'lifetime', valueString });
const bytes = pdf();
const good = await document('application/pdf', bytes);
await state(good, 'ready');

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A fresh browser of a phone. */
async function phone(options = {}) {
  const context = await browser.newContext({ viewport: PHONE, acceptDownloads: true, javaScriptEnabled: false, ...options });
  return context.newPage();
}

async function shows(url, heading, name, options) {
  const page = await phone(options);
  const answer = await page.goto(url);
  await looks(page, heading, name);
  await page.context().close();
  return answer.status();
}

async function looks(page, heading, name) {
  const body = await page.locator('body').innerText();
  assert.equal(await page.locator('h1').innerText(), heading, body);
  assert.ok(!body.includes('Secret title') && !(await page.content()).includes('<script'));
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

/** What a click on a link in a message does. */
async function downloads(page, act) {
  const [download] = await Promise.all([page.waitForEvent('download'), act()]);
  assert.equal(download.suggestedFilename(), 'Secret title.pdf');
  assert.ok(readFileSync(await download.path()).equals(bytes), 'other bytes');
}

try {
  const short = await issue(good, [lifetime('1s')]);
  const plain = await issue(good, [lifetime('5m')]);
  const page = await phone({ javaScriptEnabled: true });
  await downloads(page, () => page.goto(plain).catch((error) => assert.match(error.message, /Download is starting|ERR_ABORTED/)));
  assert.equal(page.url(), 'about:blank', 'it was rendered');
  await page.context().close();

  const link = await issue(good, [uses, confirm]);
  // Mail scanners and previews: HEAD, GET as anything, GET as a browser's preview.
  for (const agent of ['Mozilla/5.0 (compatible; MailScanner)', 'WhatsApp/2.23', 'Slackbot-LinkExpanding 1.0', 'facebookexternalhit/1.1', '']) {
    for (const accept of ['*/*', 'text/html,*/*;q=0.8', 'application/pdf', 'image/*']) {
      for (const more of [[], ['--head'], ['--range', '0-0']]) {
        const { stdout } = await run('curl', ['--silent', '--max-time', '20', '-A', agent, '-H', `Accept: ${accept}`, ...more, '--include', link]);
        assert.ok(!stdout.includes('%PDF') && !/content-disposition/i.test(stdout), stdout.slice(0, 300));
      }
    }
  }
  await shows(link, 'A document is ready to download', 'confirm-dark', { colorScheme: 'dark' });
  await shows(link, 'A document is ready to download', 'confirm-320', { viewport: { width: 320, height: 568 } });
  const reader = await phone();
  await reader.goto(link);
  await looks(reader, 'A document is ready to download', 'confirm');
  const button = reader.getByRole('button', { name: /^Download PDF, \d+ KB$/ });
  const box = await button.boundingBox();
  assert.ok(box.height >= 44 && box.y + box.height < PHONE.height, 'the button is on the first screen');
  // By keyboard alone: past the skip link to the button.
  await reader.keyboard.press('Tab');
  await reader.screenshot({ path: join(SHOTS, 'confirm-skip.png') });
  await reader.keyboard.press('Tab');
  assert.ok(await button.evaluate((one) => one === one.ownerDocument.activeElement));
  await reader.screenshot({ path: join(SHOTS, 'confirm-focus.png') });
  await downloads(reader, () => reader.keyboard.press('Enter'));
  assert.equal(await reader.locator('h1').innerText(), 'A document is ready to download', 'the page stays');
  await reader.context().close();

  let status = 0;
  for (let round = 0; round < 100 && status !== 410; round += 1) {
    status = (await fetch(link, { headers: { accept: 'text/html' } })).status;
    await new Promise((wake) => { setTimeout(wake, 50); });
  }
  assert.equal(await shows(link, 'This link has already been used', 'used'), 410);
  const cookieless = await phone();
  const other = await issue(good, [confirm]);
  await cookieless.goto(other);
  await cookieless.context().clearCookies();
  await cookieless.getByRole('button').click();
  await looks(cookieless, 'Downloading needs a cookie', 'no-cookie');
  await downloads(cookieless, () => cookieless.getByRole('button').click());
  await cookieless.context().close();
  assert.equal(await shows(short, 'This link has expired', 'expired'), 410);
  assert.equal(await shows(short, 'This link has expired', 'expired-dark', { colorScheme: 'dark' }), 410);
  assert.equal(await shows(`${plain}x`, 'This link does not work', 'invalid'), 403);
  await fhir('POST', `DocumentReference/${good}/$revoke`, { resourceType: 'Parameters' });
  assert.equal(await shows(plain, 'This link has been withdrawn', 'withdrawn'), 410);
  console.log(`pages: link, confirm, used, expired, withdrawn, invalid, no cookie in ${(await browser.version())}`);
} finally {
  await browser.close();
}
