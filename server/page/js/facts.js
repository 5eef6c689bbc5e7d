// What the atlas knows of a prompt: asked once a pair, and kept.
import { done, get } from "./api.js";
import { computed, effect, signal } from "./lib.js";
import { active, body, doc, refuse } from "./state.js";
import { server } from "./studio.js";

/** The edit that facts are shown of. */
export const current = computed(
  () => doc.value.edits.find((edit) => edit.id === active.value) ?? doc.value.edits.at(-1) ?? null,
);

const MOST = 200;
const known = signal(/** @type {Record<string, any>} */ ({}));
const examples = signal(/** @type {Record<string, any>} */ ({}));
/** Where automatic alpha came to, by the pair and what goes with it. */
const found = signal(/** @type {Record<string, any>} */ ({}));

const keyOf = ({ neutral, target }) => `${neutral}\n${target}`;
const put = (store, key, value) => {
  const entries = Object.entries(store.peek()).slice(-MOST);
  store.value = { ...Object.fromEntries(entries), [key]: value };
};

/** `{record}` or `{problem}` of a pair, nothing while it is asked. */
export const factsOf = (edit) => known.value[keyOf(edit)];
/** The sheet of samples that have it most, in the middle, and least: a picture, with the side of
 * its cells, and how far right they begin. */
export const examplesOf = (edit) => examples.value[keyOf(edit)];

const asked = new Set();
async function once(store, key, question, pair) {
  const name = `${store === known ? "k" : "e"}${key}`;
  if (asked.has(name)) return;
  asked.add(name);
  try {
    put(store, key, await question());
  } catch (problem) {
    if (problem.status) {
      if (store === known && problem.status === 422) refuse(pair);
      put(store, key, { problem });
    } else asked.delete(name); // nobody answered: again when somebody does
  }
}

/** Asks for what is to be shown, from now on. */
export function learnFacts() {
  effect(() => {
    const edits = doc.value.edits;
    if (server.value !== "here") return;
    for (const edit of edits) once(known, keyOf(edit), () => recordOf(edit), edit);
  });
}

const recordOf = async ({ neutral, target }) => ({
  record: await get("directions", { neutral, target, top: 6 }),
});

const TRIES = 6;
/** Some phrases of the atlas to begin with. */
export const tries = signal(/** @type {string[]} */ ([]));

/** Asks for them: evenly out of those that begin with what the pictures are. */
export async function learnTries(neutral) {
  if (tries.value.length) return;
  const { phrases } = await get("phrases", { prefix: `${neutral} with`, top: 200 });
  const apart = Math.max(1, Math.floor(phrases.length / TRIES));
  tries.value = phrases.filter((_, at) => at % apart === Math.floor(apart / 2)).slice(0, TRIES);
}

/** Asks for examples of a pair. */
export const learnExamples = (edit) =>
  once(examples, keyOf(edit), async () => {
    const { neutral, target } = edit;
    const job = await done("sheets/samples", { neutral, target }, undefined, { wait: 20 });
    const [sheet] = job.result.pictures;
    const cell = sheet.height / ROWS;
    return { ...sheet, cell, left: sheet.width - SHOWN * cell };
  });
const ROWS = 3; // has it most, in the middle, lacks it most
const SHOWN = 8;

const foundKey = (edit) => {
  const { seeds, photo, truncation, keep, layers, beta } = doc.value;
  return JSON.stringify([keyOf(edit), seeds, photo?.latents, truncation, keep, layers, beta]);
};
/** What automatic alpha found for the images as they stand: `{alpha, status}` each. */
export const foundOf = (edit) => found.value[foundKey(edit)];

/** Lets the service find how far each image has to go along one edit. */
export async function findAlphas(edit) {
  const key = foundKey(edit);
  if (!found.peek()[key]) {
    const asking = { ...body({ ...doc.value, edits: [{ ...edit, on: true, alpha: 1 }] }) };
    const whole = { ...asking, alpha: null, method: "direction" };
    const job = await done("edits", whole, undefined, { wait: 30 });
    const each = new Map(); // a prompt that is read as several edits has several records an image
    for (const one of job.result.record.images) if (!each.has(one.image)) each.set(one.image, one);
    put(found, key, [...each.values()].map(({ alpha, status }) => ({ alpha, status })));
  }
  return found.peek()[key];
}
