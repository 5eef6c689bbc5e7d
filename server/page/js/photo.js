// Own photos: taken in, cut out, found again by the generator, put back; and ended with the page.
import { follow, remove, upload } from "./api.js";
import { t } from "./i18n.js";
import { batch, clamp, effect, signal, untracked } from "./lib.js";
import { kept } from "./memory.js";
import { photoLost } from "./notices.js";
import { body, doc, step, withoutPhoto } from "./state.js";
import { forgotten } from "./studio.js";
import { callOff, work, works } from "./work.js";

/** @typedef {[number, number][]} Quad corners of a part, in pixels of the photo */
/** @typedef {{bitmap: ImageBitmap, name: string, blob: Blob, upload: Promise<string> | null,
 *   id: string, faces: {face: number, quad: Quad}[]}} Held a photo, as this page holds it */
/** @typedef {{step: "choose" | "camera" | "crop" | "invert", held: Held | null,
 *   align: "face" | number[], face: number, kept: boolean, problem: any}} Choosing */

/** What the dialog of a new photo is about; null while it is shut. */
export const choosing = signal(/** @type {Choosing | null} */ (null));
/** Photos by their ids, for as long as the page is there. @type {Map<string, Held>} */
const held = new Map();
/** What is on the service because of this page: photos and masks. @type {Set<string>} */
const ours = new Set();
let leave = new AbortController();

export const heldOf = (photo) => held.get(photo.photo) ?? null;
const put = (part) => {
  if (choosing.value) choosing.value = { ...choosing.value, ...part };
};

/** Opens the dialog anew. @param {Choosing["step"]} [at] */
export function open(at = "choose") {
  batch(() => {
    shut();
    leave = new AbortController();
    choosing.value = { step: at, held: null, align: "face", face: 1, kept: false, problem: null };
  });
}

/** Shuts it; what was going on is ended, and a photo that nothing was made of. */
export function shut() {
  const { held: one } = choosing.value ?? {};
  leave.abort();
  choosing.value = null;
  if (one?.id && doc.value.photo?.photo !== one.id) drop(one);
}

async function drop(one) {
  one.bitmap.close();
  held.delete(one.id);
  ours.delete(one.id);
  await remove(`photos/${one.id}`).catch(() => {}); // it ends by itself
}

/** Takes a picture in: shown at once, sent beside. @param {Blob} blob @param {string} name */
export async function take(blob, name) {
  open();
  const { signal: left } = leave;
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    if (!left.aborted) put({ problem: { kind: "photoUnreadable" } });
    return;
  }
  if (left.aborted) return bitmap.close();
  const one = { bitmap, name, blob, id: "", faces: [], upload: null };
  put({ step: "crop", held: one, align: largest(bitmap), problem: null });
  one.upload = send(one, left);
  one.upload.catch((problem) => {
    if (!left.aborted) put({ problem });
  });
}

async function send(one, left) {
  const sent = await upload(one.blob);
  one.id = sent.id;
  ours.add(sent.id);
  held.set(sent.id, one);
  if (left.aborted) await drop(one);
  else
    follow(sent.crops).then(
      (job) => !left.aborted && look(one, job),
      () => {}, // nothing was found: the part is chosen by hand
    );
  return sent.id;
}

/** Faces that the service found, where it looks for some: the first is the one to take. */
function look(one, job) {
  if (job.state !== "done" || job.result.record.align !== "face") return;
  one.faces = job.result.record.crops.map(({ face, quad }) => ({ face, quad }));
  if (choosing.value?.held === one && one.faces.length) put({ align: "face", face: 1 });
}

/** The largest square in the middle. @returns {number[]} [x, y, size] */
const largest = ({ width, height }) => {
  const size = Math.min(width, height);
  return [Math.floor((width - size) / 2), Math.floor((height - size) / 2), size];
};

/** Takes another part: moved and sized within the photo. @param {number[]} box */
export function cut([x, y, size]) {
  const { width, height } = choosing.value.held.bitmap;
  const side = Math.round(clamp(size, Math.min(32, width, height), Math.min(width, height)));
  const at = (value, most) => Math.round(clamp(value, 0, most - side));
  put({ align: [at(x, width), at(y, height), side] });
}
/** Whether the photo is to stay on the service when the page goes. @param {boolean} yes */
export const wish = (yes) => put({ kept: yes });
/** Takes a face that was found. @param {number} face */
export const takeFace = (face) => put({ align: "face", face });

/** The corners of what is to be cut out, from the top left on.
 * @param {{held: Held, align: "face" | number[], face: number}} of @returns {Quad} */
export function quadOf({ held: one, align, face }) {
  if (align === "face") return one.faces.find((found) => found.face === face)?.quad ?? [];
  const [x, y, size] = align;
  return [
    [x, y],
    [x, y + size],
    [x + size, y + size],
    [x + size, y],
  ];
}

/** Has the generator draw what was cut out, and stands it on the stage. */
export async function invert() {
  const { held: one, align, face, kept: isKept } = choosing.value;
  const { signal: left } = leave;
  put({ step: "invert", problem: null });
  try {
    const photo = await one.upload;
    if (left.aborted) return;
    const made = work(t("photoInverting"), "inversions", { photo, align, face });
    const [own] = works.value.slice(-1);
    left.addEventListener("abort", () => callOff(own));
    const { result } = (await made) ?? {};
    if (left.aborted) return;
    if (!result) return put({ step: "crop" });
    const [{ cosine }] = result.record.photos;
    const doubtful = result.notes.length > 0;
    const given = { photo, latents: result.latents, name: one.name, align, face, cosine, doubtful };
    batch(() => {
      choosing.value = null;
      if (isKept) keep(given, true);
      step("photo", { photo: given, focus: 0 }, one.name);
    });
  } catch (problem) {
    if (!left.aborted) put({ step: "crop", problem });
  }
}

/** The photo with the edits in it: a job that is done, or null where it was called off.
 * @param {Blob | null} mask white where the photo may change; everywhere if not given */
export async function putBack(mask) {
  const { photo } = doc.value;
  const { seeds, latents, ...edit } = body();
  /** @type {Record<string, any>} */
  const asked = { ...edit, photo: photo.photo, align: photo.align, face: photo.face };
  if (mask) {
    const sent = await upload(mask, "none", 0);
    ours.add(sent.id);
    asked.mask = sent.id;
  }
  return work(t("photoPutBack"), "edits", asked);
}

/** Back to the row of samples. */
export const letGo = () => step("photoAway", { photo: null }, doc.value.photo.name);

/** Keeps a photo on the service when the page goes, or no longer. */
function keep(photo, yes) {
  const others = kept.value.filter((one) => one.photo !== photo.photo);
  kept.value = yes ? [photo, ...others] : others;
}

/** Ends a photo that was kept. */
export function end(photo) {
  keep(photo, false);
  remove(`photos/${photo.photo}`).catch(() => {});
}
/** Stands one that was kept on the stage again. */
export function again(photo) {
  batch(() => {
    shut();
    ours.add(photo.photo);
    step("photo", { photo, focus: 0 }, photo.name);
  });
}

effect(() => {
  const photo = forgotten.value;
  if (photo)
    untracked(() => {
      keep(photo, false);
      withoutPhoto(photo);
      photoLost.value = "photoForgotten";
    });
});

// What is sent is ended with the page, but for what is to be kept; where the browser itself is
// ended, the service forgets it by itself after a while.
addEventListener("pagehide", () => {
  for (const id of ours)
    if (!kept.value.some(({ photo }) => photo === id)) remove(`photos/${id}`).catch(() => {});
  ours.clear();
});
addEventListener("pageshow", (event) => {
  if (event.persisted && doc.value.photo) letGo();
});
