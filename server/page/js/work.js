// Long work: what waits, where in the queue, how far it is, and how it is ended.
import { Problem, follow, post, remove } from "./api.js";
import { signal } from "./lib.js";

/** @typedef {{key: number, title: string, state: "sent" | "waiting" | "running", place: number,
 *   done: number, of: number, what: string, id: string}} Work */

/** @type {import("./lib.js").Signal<Work[]>} */
export const works = signal([]);
let last = 0;

const update = (key, part) =>
  (works.value = works.value.map((work) => (work.key === key ? { ...work, ...part } : work)));

/** How each is told that it was called off. @type {Map<number, (ended: null) => void>} */
const offs = new Map();

/** Hands in a job under a title, shows how it goes, and gives it once it is done; null at once where
 * it is called off.
 * @param {string} title @param {string} path such as "films" @param {object} body */
export async function work(title, path, body) {
  const key = (last += 1);
  const fresh = { key, title, state: "sent", place: 0, done: 0, of: 0, what: "", id: "" };
  works.value = [...works.value, /** @type {Work} */ (fresh)];
  const off = new Promise((resolve) => offs.set(key, resolve));
  try {
    return await Promise.race([ended(key, path, body), off]);
  } finally {
    offs.delete(key);
    works.value = works.value.filter((one) => one.key !== key);
  }
}

async function ended(key, path, body) {
  const job = await post(path, body);
  if (!offs.has(key)) {
    remove(`jobs/${job.id}`).catch(() => {}); // it was called off before it had a number
    return null;
  }
  update(key, { id: job.id, state: job.state === "running" ? "running" : "waiting", place: job.place });
  const made = await follow(job, ({ kind, data }) => {
    if (kind === "queued") update(key, { state: "waiting", place: data.place });
    if (kind === "started") update(key, { state: "running" });
    if (kind === "progress") update(key, { state: "running", ...data });
  });
  if (made.state !== "done") throw new Problem(made.problem || { title: made.state });
  return made;
}

/** Ends it. @param {Work} one */
export function callOff(one) {
  offs.get(one.key)?.(null);
  if (one.id) remove(`jobs/${one.id}`).catch(() => {});
}
