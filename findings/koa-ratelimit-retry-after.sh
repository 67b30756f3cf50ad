#!/usr/bin/env bash
# koa-ratelimit 6.0.0 (npm) rounds its Retry-After down twice: the reset to a whole second, and what is left until then. So
# who waits for as long, and for one second more, is refused again. RFC 9110 10.2.3: how long to wait before a follow-up request.
# Seen on 2026-11-30: refused 1.2 s into a window of 5 s, Retry-After 2, and refused again after 3.1 s.
# Needs node and npm. Exits 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund koa@3.0.1 koa-ratelimit@6.0.0 >/dev/null
cat >app.js <<'JS'
const Koa = require("koa");
const ratelimit = require("koa-ratelimit");
const app = new Koa();
app.use(ratelimit({ driver: "memory", db: new Map(), duration: 5000, max: 1, disableHeader: true }));
app.use((context) => { context.body = "page"; });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const server = app.listen(0, "127.0.0.1", async () => {
  const ask = () => fetch(`http://127.0.0.1:${server.address().port}/`);
  // The window begins late in a second of the clock, and the refusal comes early in another.
  await sleep(1000 - (Date.now() % 1000) + 900);
  const first = (await ask()).status;
  await sleep(1200);
  const refused = await ask();
  const told = Number(refused.headers.get("retry-after"));
  await sleep(1000 * (told + 1) + 100);
  const again = (await ask()).status;
  console.log(`first ${first}, then ${refused.status} with Retry-After ${told}, a second more than that later ${again}`);
  process.exit(first === 200 && refused.status === 429 && again === 429 ? 0 : 1);
});
JS
node app.js
