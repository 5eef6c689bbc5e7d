// The document written down: in a link, in a preset, in the browser's own memory. What is read back
// comes from strangers: every value is looked at, what does not fit is left out.
import { ROW, fresh } from "./state.js";
import { clamp } from "./lib.js";

const METHODS = ["direction", "auto", "mapper", "optimize"];
const MOST = { seeds: 16, edits: 16, names: 64, letters: 300 };

/** @param {import("./state.js").Doc} doc @param {string} [atlas] whose it is */
export function written(doc, atlas) {
  const { photo, edits, ...rest } = doc; // nothing of a picture goes into a link
  const plain = edits.map(({ neutral, target, alpha, on }) => ({ neutral, target, alpha, on }));
  return { ...rest, edits: plain, ...(photo ? { photo: true } : {}), ...(atlas ? { atlas } : {}) };
}

/** The link that brings the document back. */
export function linkOf(doc, atlas) {
  const url = new URL(location.href);
  url.hash = `s=${encode(JSON.stringify(written(doc, atlas)))}`;
  return url.href;
}

/** What a link's fragment holds; null where that is nothing of ours.
 * @returns {{doc: import("./state.js").Doc, atlas: string, photo: boolean} | null} */
export function fromLink(hash) {
  const text = /^#s=([A-Za-z0-9_-]{1,40000})$/.exec(hash)?.[1];
  if (!text) return null;
  try {
    return read(JSON.parse(decode(text)));
  } catch {
    return null;
  }
}

/** What was written down. @param {any} given */
export function read(given) {
  if (typeof given !== "object" || given === null) return null;
  const doc = fresh();
  const seeds = list(given.seeds, MOST.seeds).filter(
    (seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32,
  );
  if (seeds.length) doc.seeds = seeds;
  doc.focus = clamp(Math.trunc(number(given.focus, 0)), 0, doc.seeds.length - 1);
  doc.truncation = clamp(number(given.truncation, doc.truncation), -2, 2);
  doc.edits = list(given.edits, MOST.edits)
    .map((edit, at) => ({
      id: at + 1,
      neutral: words(edit?.neutral),
      target: words(edit?.target),
      alpha: clamp(number(edit?.alpha, 0), -20, 20),
      on: edit?.on !== false,
    }))
    .filter((edit) => edit.neutral && edit.target);
  doc.keep = list(given.keep, MOST.edits).map(words).filter(Boolean);
  doc.layers = list(given.layers, MOST.names).map(words).filter(Boolean);
  const beta = number(given.beta, 0);
  doc.beta = beta > 0 && beta < 1 ? beta : null;
  if (METHODS.includes(given.method)) doc.method = given.method;
  return { doc, atlas: words(given.atlas), photo: given.photo === true };
}

const list = (given, most) => (Array.isArray(given) ? given.slice(0, most) : []);
const number = (given, otherwise) =>
  typeof given === "number" && Number.isFinite(given) ? given : otherwise;
const words = (given) =>
  typeof given === "string" ? given.replace(/\s+/g, " ").trim().slice(0, MOST.letters) : "";

function encode(text) {
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte));
  return btoa(bytes.join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decode(text) {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(raw, (letter) => letter.charCodeAt(0)));
}

/** The seeds after (or before) a row. */
export const nextRow = (seeds) => {
  const from = (Math.max(...seeds) + 1) % 2 ** 32;
  return Array.from({ length: ROW }, (_, at) => (from + at) % 2 ** 32);
};
