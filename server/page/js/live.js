// A live session: where the sliders stand goes out, pictures come back.
import { BASE, Problem, passes } from "./api.js";

const FIRST_WAIT = 400;
const MOST_WAIT = 5000;
const SILENCE = 120000; // after which a message is thought lost: large generators take their time
const REFUSED = 1008; // the code that a connection is closed with, of RFC 6455

/** @typedef {{number: number, type: string, whole: boolean, width: number, height: number,
 *   images?: {image: string, status?: string, before?: number[], probability?: number[]}[],
 *   problem?: string, bitmap: ImageBitmap, sent: number}} Frame */

/** @typedef {{message: object, resolve: Function, reject: Function, newest: boolean,
 *   number?: number, sent?: number}} Wish */

/**
 * One WebSocket that comes back by itself, as soon as something is wished for. A message is out at
 * a time: what came meanwhile through `want` gives way to the newest, what came through `ask` has
 * its turn. The first that is out is the start; its frame shows the images as they are.
 */
export class Session {
  /**
   * @param {object} start as `LiveStart`
   * @param {{onfirst?: (frame: Frame) => void, onlost?: () => void,
   *   onproblem?: (problem: Problem) => void}} told of the first frame, each time; of a connection
   *   that was lost, and what the service ended it for
   */
  constructor(start, told = {}) {
    this.start = start;
    this.told = told;
    this.number = 0;
    this.wait = FIRST_WAIT;
    this.until = 0; // it may be connected again
    /** @type {Wish[]} */
    this.queue = [];
    /** @type {Wish | null} */
    this.out = null;
    /** @type {Problem | null} what the service is about to end the connection for */
    this.problem = null;
    /** @type {Problem | null} what no other start is refused for: nothing comes any more */
    this.refusal = null;
    this.closed = false;
    this.connect();
  }

  connect() {
    const url = new URL("live", BASE);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.send(this.start);
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.lost(event.code);
    const begun = (frame) => this.told.onfirst?.(frame);
    this.out = { message: this.start, resolve: begun, reject: () => {}, newest: false, number: 0 };
    this.timer = 0;
    this.socket = socket;
  }

  /** The newest wish; resolves to its frame, or to null where a newer one came before. */
  want(message) {
    const older = this.queue.findIndex((one) => one.newest);
    if (older >= 0) this.queue.splice(older, 1)[0].resolve(null);
    return this.add(message, true);
  }

  /** A frame that is wanted in any case. */
  ask(message) {
    return this.add(message, false);
  }

  add(message, newest) {
    return new Promise((resolve, reject) => {
      if (this.closed) return resolve(null);
      if (this.refusal) return reject(this.refusal);
      this.queue.push({ message, resolve, reject, newest });
      this.pump();
    });
  }

  pump() {
    if (this.out || !this.queue.length) return;
    if (this.socket) {
      this.number += 1;
      this.out = { ...this.queue.shift(), number: this.number };
      this.send({ ...this.out.message, number: this.number });
    } else
      this.timer ||= setTimeout(() => this.connect(), Math.max(0, this.until - performance.now()));
  }

  send(message) {
    this.out.sent = performance.now();
    this.socket.send(JSON.stringify(message));
    this.silence = setTimeout(() => this.socket?.close(), SILENCE);
  }

  async receive(data) {
    const { out } = this;
    if (typeof data === "string") return this.hear(new Problem(JSON.parse(data)), out?.number);
    const end = new Uint8Array(data).indexOf(10);
    const told = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 0, end)));
    if (told.problem) return this.hear(new Problem({ detail: told.problem }), told.number);
    if (told.number !== out?.number) return;
    clearTimeout(this.silence);
    const bitmap = await createImageBitmap(new Blob([data.slice(end + 1)], { type: told.type }));
    if (this.out !== out) return;
    this.out = this.problem = null;
    this.wait = FIRST_WAIT;
    out.resolve({ ...told, bitmap, sent: out.sent });
    this.pump();
  }

  /** A problem is that of what is out, and the next has its turn; or the connection's, which ends. */
  hear(problem, number) {
    const { out } = this;
    if (!out?.number || out.number !== number || passes(problem)) {
      this.problem = problem;
      return;
    }
    clearTimeout(this.silence);
    this.out = null;
    out.reject(problem);
    this.pump();
  }

  lost(code) {
    clearTimeout(this.silence);
    const { out, problem } = this;
    this.socket = this.out = this.problem = null;
    if (this.closed) return;
    const isBeginning = out?.number === 0;
    if (out && !isBeginning) this.queue.unshift(out);
    this.until = performance.now() + (problem ? MOST_WAIT : this.wait);
    this.wait = Math.min(MOST_WAIT, this.wait * 1.6);
    this.told.onlost?.();
    if (problem && (isBeginning || this.queue.length)) this.told.onproblem?.(problem);
    if (problem && !passes(problem)) {
      if (isBeginning && code === REFUSED) this.refusal = problem;
      for (const one of this.queue.splice(0)) one.reject(problem);
    }
    this.pump();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.socket?.close();
    for (const one of this.queue.splice(0)) one.resolve(null);
    if (this.out?.number) this.out.resolve(null);
    this.out = null;
  }
}

/** Where the n pictures of a frame lie in it: rows, about as many as columns.
 * @param {Frame} frame @param {number} count
 * @returns {Cell[]} */
export function cells(frame, count) {
  const columns = Math.ceil(Math.sqrt(count));
  const rows = Math.ceil(count / columns);
  const width = frame.width / columns;
  const height = frame.height / rows;
  return Array.from({ length: count }, (_, at) => ({
    bitmap: frame.bitmap,
    x: (at % columns) * width,
    y: Math.floor(at / columns) * height,
    width,
    height,
  }));
}

/** @typedef {{bitmap: CanvasImageSource, x: number, y: number, width: number, height: number}} Cell */
