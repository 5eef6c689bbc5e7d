// What outlives a reload: settings, presets and recent prompts for every tab; the document for its
// own tab, and for the next one that is opened. A browser that keeps nothing is none the worse.
import { effect, signal } from "./lib.js";
import { read, written } from "./link.js";
import { doc, look, moving } from "./state.js";

const NAME = "styleatlas";
const MOST_KEPT = 8; // photos

function stored(place, key, otherwise) {
  try {
    const text = place.getItem(`${NAME}.${key}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

function store(place, key, value) {
  try {
    place.setItem(`${NAME}.${key}`, JSON.stringify(value));
  } catch {
    // full, or forbidden
  }
}

const strings = (given) => (Array.isArray(given) ? given.filter((s) => typeof s === "string") : []);
const settingsOf = (given) => ({
  theme: ["light", "dark"].includes(given?.theme) ? given.theme : "auto",
  language: typeof given?.language === "string" ? given.language : "auto",
});
const VIEWS = ["one", "split", "strengths", "strip", "grid"];
const lookOf = (given) => ({
  view: VIEWS.includes(given?.view) ? given.view : "one",
  split: given?.split >= 0 && given.split <= 1 ? given.split : 0.5,
});
const presetsOf = (given) =>
  (Array.isArray(given) ? given : [])
    .filter((one) => typeof one?.name === "string" && read(one.doc))
    .map(({ name, doc: kept }) => ({ name, doc: kept }));
const photosOf = (given) =>
  (Array.isArray(given) ? given : []).slice(0, MOST_KEPT).filter(isPhoto).map(photoOf);
const isPhoto = (one) => ["photo", "latents", "name"].every((key) => typeof one?.[key] === "string");
const photoOf = ({ photo, latents, name, align, face }) => ({
  photo,
  latents,
  name: name.slice(0, 80),
  align: Array.isArray(align) && align.length === 3 && align.every(Number.isFinite) ? align : "face",
  face: Number.isInteger(face) ? face : 1,
});
const recentOf = (given) => strings(given).slice(0, 12);

/** Theme, language. */
export const settings = signal(settingsOf(stored(localStorage, "settings", {})));
/** @type {import("./lib.js").Signal<{name: string, doc: object}[]>} */
export const presets = signal(presetsOf(stored(localStorage, "presets", [])));
/** Targets, the newest first. */
export const recent = signal(recentOf(stored(localStorage, "recent", [])));

/** Photos that are to stay on the service when the page goes.
 * @type {import("./lib.js").Signal<import("./state.js").Photo[]>} */
export const kept = signal(photosOf(stored(localStorage, "photos", [])));

/** The document of before the reload, with its photo if that was kept; and whether it lost one.
 * @returns {{doc: import("./state.js").Doc, isLost: boolean} | null} */
export function remembered() {
  const given = stored(sessionStorage, "doc", null) ?? stored(localStorage, "doc", null);
  const found = read(given);
  if (!found) return null;
  const photo = kept.value.find((one) => one.photo === given.kept) ?? null;
  return { doc: { ...found.doc, photo }, isLost: found.photo && !photo };
}

const keptOf = ({ photo }) =>
  kept.value.some((one) => one.photo === photo?.photo) ? { kept: photo.photo } : {};

/** From now on everything is kept, and what other tabs keep arrives here. */
export function remember() {
  look.value = lookOf(stored(sessionStorage, "look", null));
  effect(() => store(sessionStorage, "look", look.value));
  effect(() => store(localStorage, "settings", settings.value));
  effect(() => store(localStorage, "presets", presets.value));
  effect(() => store(localStorage, "recent", recent.value));
  effect(() => store(localStorage, "photos", kept.value));
  effect(() => {
    if (moving.value) return;
    const plain = { ...written(doc.value), ...keptOf(doc.value) };
    store(sessionStorage, "doc", plain);
    store(localStorage, "doc", plain);
  });
  addEventListener("storage", (event) => {
    const arrived = { settings, presets, recent, photos: kept };
    const checked = { settings: settingsOf, presets: presetsOf, recent: recentOf, photos: photosOf };
    const key = event.key?.slice(NAME.length + 1);
    if (!key || !(key in arrived)) return;
    const value = checked[key](stored(localStorage, key, null));
    if (JSON.stringify(value) !== JSON.stringify(arrived[key].peek())) arrived[key].value = value;
  });
}

/** Puts a prompt on top of the recent ones. */
export function used(prompt) {
  recent.value = recentOf([prompt, ...recent.value.filter((one) => one !== prompt)]);
}
