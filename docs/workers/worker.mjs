// A worker in JavaScript, for Node.js 20 or later, without packages: claims jobs of one type, does them, and reports.
//
//   HEADWAY_KEY=hwk_... node worker.mjs https://jobs.example.com print-invoice ./print.mjs
//
// The module's default export is a function that does one job and returns the result:
//
//   export default async function (claim, { report, signal }) {
//     await report('progress', { done: 1, total: 2 });
//     ...
//   }
//
// `claim` is what the server answered (claim.input, claim.checkpoint, claim.uploads). `report` sends progress, logs (of
// any number of lines) and checkpoints; `send` makes any other request of a worker. `signal` is aborted when the job
// should stop. An error with `retry = false` fails the job for good.

import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [server, type, path] = process.argv.slice(2);
const base = `${server.replace(/\/$/, '')}/work/${type}`;
const { default: work } = await import(pathToFileURL(resolve(path)).href);

class Refused extends Error {
  constructor(response) {
    super(`${response.url}: ${response.status}`);
    this.status = response.status;
  }
}

async function send(lease, step, { method = 'POST', body, headers = {} } = {}) {
  const key = process.env.HEADWAY_KEY;
  const response = await fetch(`${base}/${step}`, {
    method,
    body,
    headers: { ...headers, ...(lease && { 'Headway-Lease': lease }), ...(key && { Authorization: `Bearer ${key}` }) },
  });
  if (!response.ok) throw new Refused(response);
  return response;
}

/** Sends JSON, again and again while the server cannot be reached or has no room: it may be restarting. */
async function sendJson(lease, step, value, tries = 6) {
  const headers = { 'Content-Type': 'application/json' };
  for (let wait = 500; ; wait *= 2) {
    try {
      return await (await send(lease, step, { body: JSON.stringify(value), headers })).json();
    } catch (error) {
      tries -= 1;
      if ((error instanceof Refused && error.status < 500) || tries === 0) throw error;
      await sleep(wait);
    }
  }
}

/** Cuts log lines into pieces that are small enough for the server. */
function* pieces(lines) {
  let [piece, size] = [[], 0];
  for (const line of lines) {
    const more = Buffer.byteLength(JSON.stringify(line)) + 1;
    if (piece.length === 1000 || (piece.length > 0 && size + more > 500_000)) {
      yield { lines: piece };
      [piece, size] = [[], 0];
    }
    piece.push(line);
    size += more;
  }
  yield { lines: piece };
}

async function attempt(claim) {
  const stop = new AbortController();
  const report = async (step, value) => {
    for (const part of step === 'logs' ? pieces(value.lines) : [value]) {
      const state = await sendJson(claim.lease, step, part);
      if (state.cancel) stop.abort(new Error(`told to stop: ${state.reason}`));
    }
  };
  const beat = setInterval(() => {
    report('progress', {}).catch((error) => error.status === 409 && stop.abort(error));
  }, (claim.leaseSeconds * 1000) / 3);
  let worked = false;
  try {
    const tools = { report, signal: stop.signal, send: (step, options) => send(claim.lease, step, options) };
    const result = await work(claim, tools);
    worked = true;
    await sendJson(claim.lease, 'complete', { result: result ?? null });
  } catch (error) {
    console.error(error);
    const refused = worked && error instanceof Refused; // the result is too large, for example
    const title = refused ? 'The result was refused' : 'The worker failed';
    const failure = { title, detail: String(error.message).slice(0, 4000), retry: !refused && error.retry !== false };
    await sendJson(claim.lease, 'fail', failure).catch((refused) => console.error(refused));
  } finally {
    clearInterval(beat);
  }
}

process.once('SIGTERM', () => process.exit(0));
while (true) {
  try {
    const response = await send(null, 'claim?wait=30');
    if (response.status === 200) await attempt(await response.json());
  } catch (error) {
    console.error(error);
    await sleep(5000);
  }
}
