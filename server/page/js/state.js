// What the page is about: one document of plain values, its past and its future. Everything that is
// shown follows from it, and a link or a preset is nothing but the document written down.
import { batch, computed, signal } from "./lib.js";

/** @typedef {{id: number, neutral: string, target: string, alpha: number, on: boolean}} Edit */
/** @typedef {{latents: string, photo: string, name: string, align: "face" | number[], face: number,
 *   cosine?: number, doubtful?: boolean}} Photo what an inversion found of a part of a photo */
/**
 * @typedef {object} Doc
 * @property {number[]} seeds of the row
 * @property {number} focus which of the row stands on the stage
 * @property {number} truncation
 * @property {Photo | null} photo stands in place of the row
 * @property {Edit[]} edits
 * @property {string[]} keep
 * @property {string[]} layers those that move; none stands for all
 * @property {number | null} beta
 * @property {"direction" | "auto" | "mapper" | "optimize"} method
 */

export const ROW = 8;
export const NEUTRAL = "a face";
const PAST = 200;

/** @returns {Doc} */
export const fresh = () => ({
  seeds: Array.from({ length: ROW }, (_, at) => at + 1),
  focus: 0,
  truncation: 0.7,
  photo: null,
  edits: [],
  keep: [],
  layers: [],
  beta: null,
  method: "direction",
});

/** The document as it stands, also while a slider is held. */
export const doc = signal(fresh());
/** Whether a slider is held. */
export const moving = signal(false);
/** The edit that the facts are about. */
export const active = signal(0);
/** How the stage shows it; no part of the document, undo leaves it alone. */
export const look = signal({ view: "one", split: 0.5 });

/** @type {import("./lib.js").Signal<{past: Step[], future: Step[]}>} */
export const history = signal({ past: [], future: [] });
/** @typedef {{doc: Doc, word: string, detail: string}} Step */
let settled = doc.value;

/** Changes the document for the moment: a slider that is held.
 * @param {Partial<Doc>} part */
export function change(part) {
  doc.value = { ...doc.value, ...part };
}

/** Changes what is no step: which picture of the row is looked at. @param {number} focus */
export function focusOn(focus) {
  doc.value = settled = { ...doc.value, focus };
}

/** Ends what is going on, and makes it a step that can be undone.
 * @param {string} word which kind of step, a key of the texts
 * @param {string} [detail] */
export function settle(word, detail = "") {
  batch(() => {
    moving.value = false;
    if (JSON.stringify(doc.value) === JSON.stringify(settled)) return;
    const past = [...history.value.past, { doc: settled, word, detail }];
    history.value = { past: past.slice(-PAST), future: [] };
    settled = doc.value;
  });
}

/** One step. @param {string} word @param {Partial<Doc>} part @param {string} [detail] */
export function step(word, part, detail) {
  batch(() => {
    change(part);
    settle(word, detail);
  });
}

/** Back (or forth) by so many steps. @param {"past" | "future"} from */
function travel(from, count) {
  const to = from === "past" ? "future" : "past";
  const { [from]: source, [to]: goal } = history.value;
  let here = { ...history.value, doc: settled };
  let taken = [...source];
  let given = [...goal];
  for (let left = Math.min(count, taken.length); left > 0; left -= 1) {
    const last = taken[taken.length - 1];
    taken = taken.slice(0, -1);
    given = [...given, { ...last, doc: here.doc }];
    here = { ...here, doc: last.doc };
  }
  if (taken.length === source.length) return;
  batch(() => {
    history.value = /** @type {any} */ ({ [from]: taken, [to]: given });
    const same = String(here.doc.seeds) === String(doc.value.seeds);
    doc.value = settled = same ? { ...here.doc, focus: doc.value.focus } : here.doc;
    moving.value = false;
  });
}
export const undo = (count = 1) => travel("past", count);
export const redo = (count = 1) => travel("future", count);

/** Begins anew from a document, as a reload or a link does: nothing to undo. @param {Doc} given */
export function begin(given) {
  batch(() => {
    doc.value = settled = given;
    history.value = { past: [], future: [] };
    active.value = given.edits.at(-1)?.id ?? 0;
  });
}

/** Takes a photo that there is no more out of the document, and out of all its steps.
 * @param {Photo} photo */
export function withoutPhoto(photo) {
  const without = (given) => (given.photo?.photo === photo.photo ? { ...given, photo: null } : given);
  const all = (steps) => steps.map((one) => ({ ...one, doc: without(one.doc) }));
  batch(() => {
    history.value = { past: all(history.value.past), future: all(history.value.future) };
    doc.value = settled = without(doc.value);
  });
}

/** What is edited: that of a photo alone, or the row's. */
export const subject = computed(() => {
  const { photo, seeds, truncation } = doc.value;
  return photo ? { latents: photo.latents, truncation } : { seeds, truncation };
});
export const focused = computed(() => (doc.value.photo ? 0 : doc.value.focus));
export const count = computed(() => (doc.value.photo ? 1 : doc.value.seeds.length));

const nameOf = ({ neutral, target }) => `${neutral}\n${target}`;
/** Pairs of prompts that the service cannot make an edit of. */
const refused = signal(/** @type {string[]} */ ([]));
/** @param {{neutral: string, target: string}} pair */
export const refuse = (pair) => (refused.value = [...new Set([...refused.value, nameOf(pair)])]);

/** The edits as the service reads them: those that are on, go anywhere, and can be made.
 * @param {Doc} [of] */
export function edits(of = doc.value) {
  return of.edits
    .filter((edit) => edit.on && edit.alpha !== 0 && !refused.value.includes(nameOf(edit)))
    .map(({ neutral, target, alpha }) => ({ neutral, target, alpha }));
}

/** The message of a live session for the document. @param {Doc} [of] */
export function message(of = doc.value) {
  const { keep, layers, beta } = of;
  return { edits: edits(of), keep, layers, beta };
}

/** The body of a job that edits the same images the same way; a slider's alpha is the weight.
 * @param {Doc} [of] @param {number[]} [seeds] */
export function body(of = doc.value, seeds = of.seeds) {
  const { photo, truncation, keep, layers, beta, method } = of;
  const images = photo ? { latents: photo.latents } : { seeds };
  const weighed = edits(of).map(({ alpha, ...pair }) => ({ ...pair, weight: alpha }));
  const given = { ...images, truncation, edits: weighed, alpha: 1, keep, layers, method };
  return beta === null ? given : { ...given, beta };
}

let lastId = 0;
/** A number for an edit that no other has. */
export const newId = () => {
  lastId = Math.max(lastId, ...doc.value.edits.map((edit) => edit.id), Date.now() % 1e9) + 1;
  return lastId;
};

/** Adds an edit, or goes to the one that is there. @param {string} neutral @param {string} target */
export function addEdit(neutral, target, alpha = 1) {
  const there = doc.value.edits.find((e) => e.neutral === neutral && e.target === target);
  if (there) {
    active.value = there.id;
    return there.id;
  }
  const id = newId();
  batch(() => {
    active.value = id;
    step("added", { edits: [...doc.value.edits, { id, neutral, target, alpha, on: true }] }, target);
  });
  return id;
}

/** The edits with one of them changed. @param {number} id @param {Partial<Edit>} part */
export const withEdit = (id, part) => ({
  edits: doc.value.edits.map((edit) => (edit.id === id ? { ...edit, ...part } : edit)),
});

/** Takes an edit out. @param {Edit} edit */
export const removeEdit = (edit) =>
  step("removed", { edits: doc.value.edits.filter((e) => e.id !== edit.id) }, edit.target);

/** Moves an edit up (-1) or down (1). @param {Edit} edit @param {number} by */
export function moveEdit(edit, by) {
  const list = [...doc.value.edits];
  const at = list.findIndex((e) => e.id === edit.id);
  const to = at + by;
  if (to < 0 || to >= list.length) return;
  list.splice(to, 0, ...list.splice(at, 1));
  step("moved", { edits: list }, edit.target);
}
