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

/** Hands in a job under a title, shows how it goes, and gives it once it is done.
 * @param {string} title @param {string} path such as "films" @param {object} body */
export async function work(title, path, body) {
  const key = (last += 1);
  const fresh = { key, title, state: "sent", place: 0, done: 0, of: 0, what: "", id: "" };
  works.value = [...works.value, /** @type {Work} */ (fresh)];
  try {
    const job = await post(path, body);
    update(key, { id: job.id, state: job.state === "running" ? "running" : "waiting", place: job.place });
    const ended = await follow(job, ({ kind, data }) => {
      if (kind === "queued") update(key, { state: "waiting", place: data.place });
      if (kind === "started") update(key, { state: "running" });
      if (kind === "progress") update(key, { state: "running", ...data });
    });
    if (ended.state !== "done") throw new Problem(ended.problem || { title: ended.state });
    return ended;
  } catch (problem) {
    if (!works.value.some((one) => one.key === key)) return null; // it was called off
    throw problem;
  } finally {
    works.value = works.value.filter((one) => one.key !== key);
  }
}

/** Ends it. @param {Work} ended */
export function callOff(ended) {
  works.value = works.value.filter((one) => one.key !== ended.key);
  if (ended.id) remove(`jobs/${ended.id}`).catch(() => {});
}
