// The types of headway.js, and what each part does. docs/javascript.md shows how to use it.

export type Status = "queued" | "running" | "completed" | "failed" | "cancelled";

export interface OutputFile {
  name: string;
  sizeBytes: number;
  contentType: string;
  url: string;
}

/** Why a job failed; never a traceback. */
export interface JobError {
  type: string;
  title: string;
  detail: string | null;
  status: number | null;
}

export interface LogLine {
  /** Grows within a job, and is the line's event id. */
  seq: number;
  at: string;
  level: string;
  message: string;
}

/** A job as the API represents it. Instants are RFC 3339 in UTC; fields without a value are null. */
export interface JobState<Result = unknown> {
  jobId: string;
  type: string;
  label: string | null;
  /** The last three are final. */
  status: Status;
  /** Percent; null while unknown, 100 only when the job has completed. */
  progress: number | null;
  done: number | null;
  total: number | null;
  unit: string | null;
  message: string | null;
  step: string | null;
  ratePerSecond: number | null;
  etaSeconds: number | null;
  queuePosition: number | null;
  attempt: number;
  maxAttempts: number;
  cancelRequested: boolean;
  createdAt: string;
  runAt: string | null;
  startedAt: string | null;
  updatedAt: string | null;
  completedAt: string | null;
  expiresAt: string | null;
  statusUrl: string;
  progressUrl: string;
  resultUrl: string | null;
  /** Only in what `read()` and `wait()` return. */
  input?: unknown;
  /** Only in what `read()` and `wait()` return, and null if it is larger than 64 KiB: `result()` has it at any size. */
  result?: Result | null;
  /** The first 100 of them. */
  files: OutputFile[] | null;
  filesTotal: number;
  metadata: Record<string, string>;
  error: JobError | null;
  retryOf: string | null;
  editTag: string;
  /** Grows with every change. */
  version: number;
}

/**
 * An error response: `application/problem+json` (RFC 9457), with all of its fields.
 * 401: no valid key or ticket. 404: there is no such job. 410: it was deleted.
 */
export class Problem extends Error {
  constructor(status: number, body?: unknown, retryAfter?: number | null, options?: ErrorOptions);
  readonly status: number;
  /** A stable word for programs, such as "/problems/quota-exceeded". */
  readonly type: string;
  readonly title: string;
  readonly detail: string;
  /** What is wrong with the input, and where (JSON pointers). */
  readonly errors: { pointer: string; detail: string }[];
  /** Seconds. */
  readonly retryAfter: number | null;
  /** Of a failed job's result: why it failed. */
  readonly jobError?: JobError;
  readonly [field: string]: unknown;
}

/** A request got no response: no network, or no server. `cause` is what `fetch` threw. */
export class Unreachable extends Error {
  constructor(cause: unknown);
}

/**
 * The state of a connection. "reconnecting": it was lost, or the server ended it. "polling": there is no stream at the
 * moment. "offline": the server cannot be reached. All but "live" lead back to "live" by themselves.
 */
export type Connection = "connecting" | "live" | "reconnecting" | "polling" | "offline";

/**
 * Returns a ticket for the job, from your own backend. It is called before the first request if there is no ticket yet,
 * and again whenever the server no longer accepts the last one. After a TypeError, which `fetch` throws without a
 * connection, it is called again later; any other error is final and becomes the `cause` of a `Problem` with status 401.
 */
export type GetTicket = () => string | Promise<string>;

export interface Access {
  /** Gives access to one job. Also taken from `?ticket=` in the job's URL. */
  ticket?: string | null;
  getTicket?: GetTicket;
}

export interface ClientOptions extends Access {
  /** An API key. Not for browsers: whoever opens the page could read it. There, users sign in, or a backend has tickets. */
  key?: string | null;
  /** Used instead of the global `fetch`. */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
}

export interface Abortable {
  /** Ends the call, not the job; it then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Following extends Abortable {
  /** `everyS`: seconds between polls. */
  onConnection?: (connection: Connection, everyS?: number) => void;
}

export interface SubmitOptions extends Abortable {
  /** The input's `Upload` fields, by name. In Node.js, `fs.openAsBlob(path)` makes a Blob without reading the file. */
  files?: Record<string, Blob>;
  /** The same key never makes a second job, within 24 h. By default a new one, so that only lost responses are repeated. */
  idempotencyKey?: string;
  label?: string | null;
  priority?: number | null;
  /** Not before this instant, RFC 3339. */
  runAt?: string | null;
  timeoutSeconds?: number | null;
  retainSeconds?: number | null;
  metadata?: Record<string, string> | null;
  webhookUrl?: string | null;
  webhookEvents?: string[] | null;
  /** How often the request is repeated at most: 5 by default. */
  retries?: number;
  /** Used for this request, for instance one that reports the progress of an upload. */
  fetch?: ClientOptions["fetch"];
}

export interface CallOptions extends Abortable {
  /** Nulls are omitted; arrays are separated by commas, objects become JSON. */
  query?: Record<string, unknown>;
  /** Sent as `application/json`. */
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
  /** 5 by default, and 0 for a POST without `Idempotency-Key`. */
  retries?: number;
  /** Leaves the body of a successful response unread. */
  raw?: boolean;
  fetch?: ClientOptions["fetch"];
}

export interface StreamEvent {
  /** "message" if the stream gave it none. */
  name: string;
  id?: string;
  data: any;
}

export interface FollowOptions extends Following {
  /** Query parameters, asked for at every connection. */
  query?: () => Record<string, unknown>;
  /** Fetches once what the stream would have sent, yields it, and returns the seconds until the next poll. */
  poll: () => AsyncGenerator<StreamEvent, number, void>;
  /** Whether a stream may be opened now; if not, this polls. */
  room?: () => boolean;
}

/** A server. */
export class Client {
  /** `base`: the server's URL; in browsers it may be relative to the page, and is "/" by default. */
  constructor(base?: string | URL, options?: ClientOptions);
  readonly base: URL;

  /** Submits a job. Its result is known by `result()`, its end by `wait()`. */
  submit<Result = unknown>(type: string, input?: unknown, options?: SubmitOptions): Promise<Job<Result>>;

  /**
   * A job that was submitted before. Nothing is sent.
   *
   * @param job its id, or a URL of it: the `Location` of a submission, `statusUrl`, `progressUrl`. A path is relative
   *   to the server. A key is not sent to another origin than the client's.
   */
  job<Result = unknown>(job: string | URL, access?: Access): Job<Result>;

  /**
   * Any request of the API, `client.call("GET", "jobs", { query: { status: ["failed"] } })`. It is repeated after a lost
   * connection, 408, 429, 502, 503 and 504, as `Retry-After` says, but not after more than a minute.
   *
   * @returns the response, and its JSON; null if that is empty
   * @throws {Problem | Unreachable}
   */
  call(method: string, path: string, options?: CallOptions): Promise<{ response: Response; body: any }>;

  /** The URL of a path, with a ticket if the client has one. */
  url(path: string, query?: Record<string, unknown>): URL;

  /**
   * What a stream of the API sends, for as long as it takes: reconnects when it is cut, polls while it is unavailable.
   * `Job.events()` and `Job.states()` are built on it.
   *
   * @throws {Problem} a status that repeating the request would not change
   */
  follow(path: string, options: FollowOptions): AsyncGenerator<StreamEvent, void, void>;
}

export type JobEvent<Result = unknown> =
  | { type: "state"; id: string; state: JobState<Result> }
  | { type: "log"; id: string; line: LogLine }
  /** The place in the log is lost; it starts over. */
  | { type: "reset" };

/** One job. Iterating stops when the job has ended; leaving the loop closes the connection. */
export class Job<Result = unknown> {
  readonly client: Client;
  readonly id: string;
  /** The newest state that was received; null before the first. */
  readonly state: JobState<Result> | null;

  /**
   * Log lines in order without a gap, and each newer state, the last one included: by the job's own stream, across lost
   * connections and restarts of the server, or by polling while there is no stream.
   *
   * @param options.lastEventId the `id` of the last event of an earlier iteration: continues after it. Without one, the
   *   last 200 log lines come first.
   * @throws {Problem} 404, 410, or 401 if there is no valid ticket any more
   */
  events(options?: Following & { lastEventId?: string }): AsyncGenerator<JobEvent<Result>, void, void>;

  /**
   * Each newer state, the last one included; only the newest one if the loop is slow. Beyond three jobs at a time they
   * share a connection, so a page can follow many. Those with a ticket cannot share it; they poll.
   *
   * @throws {Problem}
   */
  states(options?: Following): AsyncGenerator<JobState<Result>, void, void>;

  /** The job once it has ended, whatever the outcome: check `status`. With `input` and `result`. @throws {Problem} */
  wait(options?: Following & { onState?: (state: JobState<Result>) => void }): Promise<JobState<Result>>;

  /** Waits for the end and returns the result, however large. @throws {Problem} also if it failed or was cancelled */
  result(options?: Following): Promise<Result>;

  /** The state now, with `input` and `result`. */
  read(options?: Abortable): Promise<JobState<Result>>;

  /** An output file. */
  file(name: string, options?: Abortable): Promise<Response>;

  /** @returns whether it has stopped; false: it will. @throws {Problem} 409: it had ended otherwise */
  cancel(options?: Abortable): Promise<boolean>;

  /** Deletes the job, and cancels it first if needed. @returns whether it is gone; false: it will be once it has stopped */
  delete(options?: Abortable): Promise<boolean>;

  /** Submits the job again. @param changes what is different: `input` (a merge patch), `label`, `priority`, `runAt` */
  retry(
    changes?: { input?: unknown; label?: string | null; priority?: number; runAt?: string | null },
    options?: Abortable & { idempotencyKey?: string },
  ): Promise<Job<Result>>;

  /** A ticket for this job alone, for a page that has no key. @param expiresInSeconds 1 to 3600, 300 by default */
  ticket(
    expiresInSeconds?: number,
    options?: Abortable,
  ): Promise<{ ticket: string; expiresAt: string; statusUrl: string; progressUrl: string }>;
}

/** Seconds according to `Retry-After` (RFC 9110, section 10.2.3: seconds or a date), at least 1; null without. */
export function retryAfterS(response: Response): number | null;

/** Waits; ends early when the browser is online again. @throws the signal's reason, when it is aborted */
export function pause(seconds: number, signal?: AbortSignal): Promise<void>;
