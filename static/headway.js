// Submits jobs and follows them, in browsers, Node.js and Deno. headway.d.ts says what each part does.

const DEADLINE_MS = 30_000;
/** Without a first byte for this long, a proxy or the browser's limit of connections holds a stream back. */
const FIRST_BYTE_MS = 10_000;
/** The server is never silent for longer than 15 s. */
const SILENCE_MS = 45_000;
const LONGEST_RETRY_S = 60;
/** Browsers allow six connections to a host (HTTP/1.1): these, one for the shared stream, two for requests. */
const OWN_STREAMS = 3;
/** Their ids have to fit into a URL. */
const MOST_SHARED = 100;
const TRANSIENT = [408, 429, 502, 503, 504];

let ownStreams = 0;

/** Clients that were cut off together do not return together. */
const jitter = () => 0.75 + Math.random() / 2;

const hasEnded = ({ status }) => status !== "queued" && status !== "running";
const isTransient = (error) =>
  error instanceof Unreachable || (TRANSIENT.includes(error.status) && !error.jobError);
const isFinal = (error) => error instanceof Problem && error.status < 500 && !TRANSIENT.includes(error.status);
const either = (...signals) => AbortSignal.any(signals.filter(Boolean));

export class Problem extends Error {
  constructor(status, body, retryAfter = null, options) {
    const title = body?.title ?? `The server answered ${status}`;
    const detail = body?.detail ?? "";
    super(detail ? `${title}: ${detail}` : title, options);
    Object.assign(this, { type: "about:blank", errors: [] }, body, { name: "Problem", status, title, detail, retryAfter });
  }
}

export class Unreachable extends Error {
  constructor(cause) {
    super("The server cannot be reached", { cause });
    this.name = "Unreachable";
  }
}

const gone = (status) => new Problem(status, { title: "The job is gone" });

export function retryAfterS({ headers }) {
  const value = headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, seconds) : null;
}

export async function pause(seconds, signal) {
  const over = new AbortController();
  await new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(resolve, seconds * 1000);
    over.signal.addEventListener("abort", () => clearTimeout(timer));
    signal?.addEventListener("abort", resolve, over);
    globalThis.addEventListener?.("online", resolve, over);
  });
  over.abort();
  signal?.throwIfAborted();
}

async function read(response) {
  // A 304 too, or the browser drops the connection.
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {}
  if (response.ok || response.status === 304) return { response, body };
  throw new Problem(response.status, body, retryAfterS(response));
}

export class Client {
  #key;
  #ticket;
  #getTicket;
  #fetch;
  #renewing = null;

  constructor(base = "/", { key, ticket, getTicket, fetch = (...request) => globalThis.fetch(...request) } = {}) {
    this.base = new URL(base, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
    this.#key = key;
    this.#ticket = ticket;
    this.#getTicket = getTicket;
    this.#fetch = fetch;
    this.shared = ticket || getTicket ? null : new SharedStream(this);
  }

  url(path, query = {}) {
    const url = new URL(path.replace(/^\//, ""), this.base);
    for (const [name, value] of Object.entries({ ticket: this.#ticket, ...query })) {
      if (value == null || value === "") continue;
      const plain = typeof value !== "object" || Array.isArray(value);
      url.searchParams.set(name, plain ? value : JSON.stringify(value));
    }
    return url;
  }

  job(job, { ticket, getTicket } = {}) {
    const path = /[/?]/.test(job) ? String(job).replace(/^\/(?!\/)/, "") : `jobs/${encodeURIComponent(job)}`;
    const url = new URL(path, this.base);
    const [, root, id] = /^(.*\/)jobs\/([^/]+)/.exec(url.pathname) ?? [];
    if (!id) throw new TypeError(`Not a job: ${job}`);
    ticket ??= url.searchParams.get("ticket");
    const base = new URL(root, url);
    if (!ticket && !getTicket && base.href === this.base.href) return new Job(this, decodeURIComponent(id));
    // A key is for its own server.
    const key = base.origin === this.base.origin ? this.#key : null;
    return new Job(new Client(base, { key, ticket, getTicket, fetch: this.#fetch }), decodeURIComponent(id));
  }

  async submit(type, input = {}, { files = {}, idempotencyKey = uniqueKey(), signal, retries, fetch, ...options } = {}) {
    const headers = { "Idempotency-Key": JSON.stringify(idempotencyKey) };
    const call = { query: options, headers, signal, retries, fetch };
    if (Object.keys(files).length === 0) call.json = input;
    else {
      call.body = new FormData();
      // Not as a Blob, which would become a file.
      call.body.append("input", JSON.stringify(input));
      for (const [name, file] of Object.entries(files)) call.body.append(name, file, file.name ?? name);
    }
    const { body } = await this.call("POST", `jobs/${encodeURIComponent(type)}`, call);
    return new Job(this, body.jobId, body);
  }

  async call(method, path, options = {}) {
    const { headers, signal, retries = method === "POST" && !headers?.["Idempotency-Key"] ? 0 : 5 } = options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#attempt(method, path, options);
      } catch (error) {
        signal?.throwIfAborted();
        const pauseS = error.retryAfter ?? Math.min(2 ** attempt, 10) * jitter();
        if (attempt >= retries || !isTransient(error) || pauseS > LONGEST_RETRY_S) throw error;
        await pause(pauseS, signal);
      }
    }
  }

  async #attempt(method, path, { query, json, body, headers, signal, fetch, raw }) {
    // Files take as long as they take.
    const late = body === undefined && !raw && AbortSignal.timeout(DEADLINE_MS);
    const init = { method, headers, body, signal: either(signal, late) };
    if (json !== undefined) {
      init.body = JSON.stringify(json);
      init.headers = { "Content-Type": "application/json", ...headers };
    }
    try {
      const response = await this.#send(path, query, init, fetch);
      return raw && response.ok ? { response } : await read(response);
    } catch (error) {
      throw error instanceof Problem || error instanceof Unreachable ? error : new Unreachable(error);
    }
  }

  /** Repeats a request whose ticket has expired. */
  async #send(path, query, init, fetch = this.#fetch) {
    const headers = { Accept: "application/json", ...init.headers };
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    if (!this.#ticket && this.#getTicket) await this.#renew();
    for (let renewed = !this.#getTicket; ; renewed = true) {
      const ticket = this.#ticket;
      const response = await fetch(this.url(path, query), { ...init, headers });
      if (response.status !== 401 || renewed) return response;
      await response.text();
      if (this.#ticket === ticket) await this.#renew();
    }
  }

  /** Concurrent requests wait for the same ticket. */
  #renew() {
    const renew = async () => {
      try {
        this.#ticket = await this.#getTicket();
      } catch (cause) {
        // As fetch() throws it without a connection.
        if (cause instanceof TypeError) throw new Unreachable(cause);
        throw new Problem(401, { title: "No ticket could be obtained" }, null, { cause });
      }
    };
    return (this.#renewing ??= renew().finally(() => (this.#renewing = null)));
  }

  async *follow(path, { query = () => ({}), poll, signal, onConnection = () => {}, room = () => true }) {
    onConnection("connecting");
    for (let failures = 0; ; ) {
      const link = { open: false, retryMs: 2000 };
      let outage = false;
      try {
        if (!room()) throw new Problem(429);
        for await (const event of this.#stream(path, query(), signal, link)) {
          if (event.name === "open") onConnection("live");
          else yield event;
        }
        if (link.over) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (isFinal(error)) throw error;
        // After an outage the stream is opened as soon as a poll succeeds, but only the first time.
        outage = failures === 0 && !(error instanceof Problem);
      }
      if (link.open) {
        failures = 0;
        onConnection(globalThis.navigator?.onLine === false ? "offline" : "reconnecting");
        await pause(link.retryMs / 1000, signal);
        continue;
      }
      const retryAtMs = outage ? 0 : performance.now() + Math.min(5 * 2 ** failures, 60) * jitter() * 1000;
      failures += 1;
      for (let outageS = 1; ; ) {
        let pauseS;
        try {
          pauseS = yield* poll();
          if (performance.now() >= retryAtMs) break;
          outageS = 1;
          onConnection("polling", pauseS);
        } catch (error) {
          signal?.throwIfAborted();
          if (isFinal(error)) throw error;
          pauseS = error.retryAfter ?? outageS * jitter();
          outageS = Math.min(outageS * 2, 10);
          onConnection("offline");
        }
        await pause(pauseS, signal);
      }
    }
  }

  /** One connection of a stream (WHATWG HTML, "server-sent events"). */
  async *#stream(path, query, signal, link) {
    const stop = new AbortController();
    const cut = () => stop.abort();
    let timer = setTimeout(cut, FIRST_BYTE_MS);
    // A connection appears open for minutes after its network has gone.
    for (const name of ["online", "offline"]) globalThis.addEventListener?.(name, cut, stop);
    try {
      const headers = { Accept: "text/event-stream" };
      const response = await this.#send(path, query, { headers, signal: either(signal, stop.signal) });
      link.over = response.status === 204;
      if (response.status !== 200) return void (await read(response));
      if (!/^text\/event-stream/.test(response.headers.get("Content-Type"))) throw new Problem(502);
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      for (let event = {}, text = ""; ; timer = setTimeout(cut, SILENCE_MS)) {
        const { done, value } = await reader.read();
        clearTimeout(timer);
        if (done) return;
        if (!link.open) yield { name: "open" };
        link.open = true;
        const lines = (text + decoder.decode(value, { stream: true })).split("\n");
        text = lines.pop();
        for (const line of lines) {
          const [, field, value] = /^([^:]*):? ?(.*?)\r?$/s.exec(line);
          if (field === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
          else if (field === "event") event.name = value;
          else if (field === "id") event.id = value;
          else if (field === "retry") link.retryMs = Number(value) || link.retryMs;
          else if (field === "" && value === "") {
            if (event.data) yield { name: "message", ...event, data: JSON.parse(event.data) };
            event = {};
          }
        }
      }
    } finally {
      clearTimeout(timer);
      cut();
    }
  }
}

// Not crypto.randomUUID(), which pages on plain HTTP do not have.
const uniqueKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

export class Job {
  constructor(client, id, state = null) {
    this.client = client;
    this.id = id;
    this.state = state;
    this.path = `jobs/${encodeURIComponent(id)}`;
  }

  #call(method, below, options) {
    return this.client.call(method, this.path + below, options);
  }

  async read({ signal } = {}) {
    return (this.state = (await this.#call("GET", "", { signal })).body);
  }

  async *states({ signal, onConnection } = {}) {
    const { shared } = this.client;
    if (ownStreams >= OWN_STREAMS && shared?.followers.size < MOST_SHARED) {
      for await (const state of shared.states(this.id, signal, onConnection)) yield (this.state = state);
    } else for await (const { state } of this.#follow(false, { signal, onConnection })) yield state;
  }

  events(options) {
    return this.#follow(true, options);
  }

  async *#follow(all, { lastEventId = "", signal, onConnection } = {}) {
    const call = (below, options) => this.#call("GET", below, { signal, retries: 0, ...options });
    let [version, seq, etag, counted] = [-1, 0, "", false];
    const room = () => (counted ||= (!globalThis.document || ownStreams < OWN_STREAMS) && ++ownStreams > 0);
    const poll = async function* () {
      const headers = etag ? { "If-None-Match": etag } : {};
      const { response, body } = await call("", { headers });
      // Log lines make no new version; those before the end come before it.
      for (let after = Math.max(seq, Number(lastEventId) || 0); all && after !== null; ) {
        const page = (await call("/logs", { query: { after } })).body;
        for (const line of page.lines) yield { name: "log", id: String(line.seq), data: line };
        after = page.nextAfter;
      }
      etag = response.headers.get("ETag") ?? etag;
      if (body) yield { name: "message", data: body };
      return retryAfterS(response) ?? 2;
    };
    // Not as a header, which would cost pages of other origins a preflight.
    const query = () => ({ lastEventId });
    try {
      for await (const event of this.client.follow(`${this.path}/progress`, { query, poll, signal, onConnection, room })) {
        const { name, data } = event;
        lastEventId = event.id || lastEventId;
        if (name === "gone") throw gone(410);
        if (name === "reset") {
          [seq, lastEventId] = [0, ""];
          if (all) yield { type: "reset" };
        } else if (name === "log" && data.seq > seq) {
          seq = data.seq;
          if (all) yield { type: "log", id: lastEventId, line: data };
        } else if (name === "message" && data.version > version) {
          version = data.version;
          this.state = data;
          yield { type: "state", id: lastEventId, state: data };
          if (hasEnded(data)) return;
        }
      }
    } finally {
      if (counted) ownStreams -= 1;
    }
  }

  async wait({ onState, ...options } = {}) {
    for await (const state of this.states(options)) onState?.(state);
    return await this.read(options);
  }

  async result(options = {}) {
    if (!this.state || !hasEnded(this.state)) for await (const _ of this.states(options));
    return (await this.#call("GET", "/result", { signal: options.signal })).body;
  }

  async file(name, { signal } = {}) {
    return (await this.#call("GET", `/files/${encodeURIComponent(name)}`, { signal, raw: true })).response;
  }

  async cancel({ signal } = {}) {
    return (await this.#call("DELETE", "", { signal })).response.status === 204;
  }

  async delete({ signal } = {}) {
    try {
      return (await this.#call("DELETE", "", { query: { purge: true }, signal })).response.status === 204;
    } catch (problem) {
      // Also when it is repeated because the response was lost.
      if (problem.status !== 404) throw problem;
      return true;
    }
  }

  async retry(changes = {}, { idempotencyKey = uniqueKey(), signal } = {}) {
    const headers = { "Idempotency-Key": JSON.stringify(idempotencyKey) };
    const { body } = await this.#call("POST", "/retry", { json: changes, headers, signal });
    return new Job(this.client, body.jobId, body);
  }

  async ticket(expiresInSeconds = 300, { signal } = {}) {
    return (await this.#call("POST", "/tickets", { json: { expiresInSeconds }, signal })).body;
  }
}

/** One connection for the states of many jobs. */
class SharedStream {
  #client;
  followers = new Set();
  #stop = null;

  constructor(client) {
    this.#client = client;
  }

  async *states(id, signal, onConnection) {
    const follower = { id, onConnection, state: null, problem: null, wake: () => {} };
    const wake = () => follower.wake();
    this.followers.add(follower);
    this.#restart();
    signal?.addEventListener("abort", wake);
    try {
      for (let version = -1; ; ) {
        signal?.throwIfAborted();
        if (follower.problem) throw follower.problem;
        const { state } = follower;
        if (state && state.version > version) {
          version = state.version;
          yield state;
          if (hasEnded(state)) return;
        } else await new Promise((resolve) => (follower.wake = resolve));
      }
    } finally {
      signal?.removeEventListener("abort", wake);
      this.followers.delete(follower);
      if (this.followers.size === 0) this.#stop?.abort();
    }
  }

  /** Restarts once for all that begin together. */
  #restart() {
    this.#stop?.abort();
    const { signal } = (this.#stop = new AbortController());
    setTimeout(() => signal.aborted || this.#run(signal));
  }

  async #run(signal) {
    const sent = new Set();
    const ids = (but) => [...new Set([...this.followers].map(({ id }) => id))].filter((id) => !but?.has(id));
    const list = async (wanted) => {
      if (wanted.length === 0) return 2;
      const query = { ids: wanted, limit: 200 };
      const { response, body } = await this.#client.call("GET", "jobs", { query, signal, retries: 0 });
      for (const job of body.jobs) this.#tell(job.jobId, { state: job });
      const found = new Set(body.jobs.map((job) => job.jobId));
      for (const id of wanted) if (!found.has(id)) this.#tell(id, { problem: gone(404) });
      return retryAfterS(response) ?? 2;
    };
    const options = {
      query: () => (sent.clear(), { ids: ids() }),
      poll: async function* () {
        return await list(ids());
      },
      signal,
      onConnection: (...state) => this.followers.forEach((follower) => follower.onConnection?.(...state)),
    };
    while (ids().length > 0) {
      try {
        for await (const { name, data } of this.#client.follow("jobs/progress", options)) {
          sent.add(data.jobId);
          if (name === "message") this.#tell(data.jobId, { state: data });
          else if (name === "gone") this.#tell(data.jobId, { problem: gone(410) });
          // Jobs that ended earlier are not sent.
          else if (name === "ready") await list(ids(sent));
        }
      } catch (problem) {
        if (signal.aborted) return;
        if (isFinal(problem)) for (const id of ids()) this.#tell(id, { problem });
        await pause(5 * jitter(), signal).catch(() => {});
      }
    }
  }

  #tell(id, news) {
    for (const follower of this.followers) {
      if (follower.id === id) Object.assign(follower, news).wake();
    }
  }
}
