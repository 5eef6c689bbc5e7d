// The documented API, and nothing else: look-ups, jobs and what becomes of them.

/** Where the service lies: beside the page, whatever a proxy puts before it. */
export const BASE = new URL("api/v1/", document.baseURI);

/** What the service said no with (RFC 9457). */
export class Problem extends Error {
  /** @param {{type?: string, title?: string, detail?: string, mend?: string, status?: number}} told */
  constructor(told) {
    super(told.detail || told.title || "");
    this.mend = told.mend && !this.message.endsWith(told.mend) ? told.mend : "";
    this.status = told.status || 0;
  }
}

/** Nobody answered. */
export class Gone extends Error {}

const PASSING = [429, 502, 503, 504];
/** Whether what went wrong may go right in a while. @param {any} problem */
export const passes = (problem) => problem instanceof Gone || PASSING.includes(problem.status);

/** Told whenever an answer came (true) or none could be had (false). */
const listeners = new Set();
/** @param {(there: boolean) => void} listener */
export const onAnswer = (listener) => listeners.add(listener);
const tell = (there) => listeners.forEach((listener) => listener(there));

async function send(path, init = {}) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    tell(false);
    throw new Gone();
  }
  tell(true);
  if (!response.ok) throw new Problem(await problemOf(response));
  return response;
}

async function problemOf(response) {
  try {
    return { ...(await response.json()), status: response.status };
  } catch {
    return { title: `HTTP ${response.status}`, status: response.status };
  }
}

/** An answer to a question, as JSON.
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 * @param {AbortSignal} [signal] */
export async function get(path, query = {}, signal) {
  const text = new URLSearchParams(Object.entries(query).map(([k, v]) => [k, String(v)]));
  const response = await send(text.size ? `${path}?${text}` : path, { signal });
  return response.json();
}

/** A picture, or another file. @param {string} url @param {string} [type] the one that is wanted */
export async function file(url, type = "*/*") {
  const response = await send(url, { headers: { Accept: type } });
  return response.blob();
}

/** Hands in a job, and gives it as it is after `wait` seconds.
 * @param {string} path such as "edits"
 * @param {object} body
 * @param {{wait?: number, signal?: AbortSignal}} [options] */
export async function post(path, body, { wait = 0, signal } = {}) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey() };
  if (wait) headers.Prefer = `wait=${wait}`;
  const response = await send(path, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
  });
  return response.json();
}

/** Sends a photo's bytes. @param {Blob} blob @param {string} [align] */
export async function upload(blob, align, wait = 30) {
  const response = await send(align ? `photos?align=${align}` : "photos", {
    method: "POST",
    headers: {
      "Content-Type": blob.type.startsWith("image/") ? blob.type : "application/octet-stream",
      Prefer: `wait=${wait}`,
    },
    body: blob,
  });
  return response.json();
}

/** Ends a job or a photo, and what came of it; gone already is as good. */
export async function remove(path) {
  try {
    await send(path, { method: "DELETE", keepalive: true });
  } catch (error) {
    if (!(error instanceof Problem && error.status === 404)) throw error;
  }
}

const FIRST_PAUSE = 500; // ms
const MOST_PAUSE = 10000;
const hasEnded = ({ state }) => ["done", "failed", "cancelled"].includes(state);

/** Follows a job until it has ended, through lost connections, and gives it then. Where its events
 * end before, it is looked up itself.
 * @param {{id: string, events: string, state: string}} job
 * @param {(event: {kind: string, data: any}) => void} tellEvent */
export async function follow(job, tellEvent = () => {}) {
  let now = job;
  for (let pause = FIRST_PAUSE; !hasEnded(now); pause = Math.min(MOST_PAUSE, 2 * pause)) {
    const last = await heard(now, tellEvent);
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, pause));
    now = await get(`jobs/${job.id}`).catch((problem) => {
      if (passes(problem)) return now;
      throw problem;
    });
  }
  return now;
}

/** A job as its last event tells it; null where its events ended before. */
function heard(job, tellEvent) {
  return new Promise((resolve) => {
    const source = new EventSource(job.events); // resumes by itself with Last-Event-ID
    const hear = (kind) => (event) => {
      const data = JSON.parse(event.data);
      tellEvent({ kind, data });
      if (data.job) {
        source.close();
        resolve(data.job);
      }
    };
    for (const kind of ["queued", "started", "progress", "again", "done", "failed", "cancelled"])
      source.addEventListener(kind, hear(kind));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) resolve(null);
      else tell(false);
    };
  });
}

/** A job that is waited for to its end; its problem is thrown. */
export async function done(path, body, tellEvent, options = {}) {
  const job = await follow(await post(path, body, options), tellEvent);
  if (job.state !== "done") throw new Problem(job.problem || { title: job.state });
  return job;
}

// crypto.randomUUID is there on secure origins alone, and a page in the local net is none
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
