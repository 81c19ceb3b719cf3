// One page of a link in Chromium at phone size, with what every such page must be: its heading, no script, nothing wider than the
// screen, the next step on the first screen.
//
//   node shot.mjs URL HEADING PNG
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [url, heading, path] = process.argv.slice(2);
const PHONE = { width: 390, height: 844 };
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const context = await browser.newContext({ viewport: PHONE, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(url);
  assert.equal(await page.locator('h1').innerText(), heading);
  assert.ok(!(await page.content()).includes('<script'));
  const box = await page.locator('main').boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= PHONE.width && box.y + box.height <= PHONE.height, JSON.stringify(box));
  await page.screenshot({ path });
} finally {
  await browser.close();
}
