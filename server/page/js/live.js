// A live session: where the sliders stand goes out, pictures come back.
import { BASE, Problem } from "./api.js";

const FIRST_WAIT = 400;
const MOST_WAIT = 5000;
const SILENCE = 20000; // after which a message is thought lost

/** @typedef {{number: number, type: string, whole: boolean, width: number, height: number,
 *   images?: {image: string, status?: string, before?: number[], probability?: number[]}[],
 *   problem?: string, bitmap: ImageBitmap, sent: number}} Frame */

/**
 * One WebSocket that comes back by itself. A message is out at a time: what came meanwhile through
 * `want` gives way to the newest, what came through `ask` has its turn.
 */
export class Session {
  /**
   * @param {object} start as `LiveStart`
   * @param {{onopen?: () => void, onlost?: () => void, onproblem?: (problem: Problem) => void}} told
   */
  constructor(start, told = {}) {
    this.start = start;
    this.told = told;
    this.number = 0;
    this.wait = FIRST_WAIT;
    /** @type {{message: object, resolve: Function, reject: Function, newest: boolean}[]} */
    this.queue = [];
    this.out = null;
    this.closed = false;
    this.connect();
  }

  connect() {
    const url = new URL("live", BASE);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(JSON.stringify(this.start));
      this.ready = true;
      this.pump();
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.lost();
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
      this.queue.push({ message, resolve, reject, newest });
      this.pump();
    });
  }

  pump() {
    if (!this.ready || this.out || !this.queue.length) return;
    const one = this.queue.shift();
    this.number += 1;
    this.out = { ...one, number: this.number, sent: performance.now() };
    this.socket.send(JSON.stringify({ ...one.message, number: this.number }));
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.socket.close(), SILENCE);
  }

  async receive(data) {
    if (!this.ready) return;
    if (this.wait !== FIRST_WAIT || !this.heard) {
      this.wait = FIRST_WAIT;
      this.heard = true;
      this.told.onopen?.();
    }
    if (typeof data === "string") return this.refuse(new Problem(JSON.parse(data)));
    const end = new Uint8Array(data).indexOf(10);
    const told = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 0, end)));
    const out = this.out;
    if (!out || told.number !== out.number) return; // such as the first, which nobody asked for
    clearTimeout(this.silence);
    if (told.problem) return this.refuse(new Problem({ detail: told.problem }));
    const bitmap = await createImageBitmap(new Blob([data.slice(end + 1)], { type: told.type }));
    if (this.out === out) this.out = null;
    out.resolve({ ...told, bitmap, sent: out.sent });
    this.pump();
  }

  refuse(problem) {
    clearTimeout(this.silence);
    const out = this.out;
    this.out = null;
    if (out) out.reject(problem);
    else this.told.onproblem?.(problem);
    this.pump();
  }

  lost() {
    clearTimeout(this.silence);
    this.ready = this.heard = false;
    if (this.closed) return;
    if (this.out) this.queue.unshift(this.out);
    this.out = null;
    this.told.onlost?.();
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(MOST_WAIT, this.wait * 1.6);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.socket.close();
    for (const one of this.queue) one.resolve(null);
    this.out?.resolve(null);
    this.queue = [];
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
