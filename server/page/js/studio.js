// Between the document and the live sessions: what is to be shown, and the pictures of it.
import { Gone, file, get, onAnswer } from "./api.js";
import { batch, computed, effect, signal, untracked } from "./lib.js";
import { Session, cells } from "./live.js";
import { count, doc, focused, message, moving, subject } from "./state.js";

/** The record of the atlas that is served; null until it is known. */
export const atlas = signal(null);
/** "here", "loading" while it loads its models, "gone", "locked" without a token; "" at first. */
export const server = signal("");
/** The newest thing that could not be done, in words; "" where all is well. */
export const trouble = signal(null);
/** Tells what could not be done; that nobody answers, the page says by itself. @param {any} problem */
export function complain(problem) {
  if (!(problem instanceof Gone)) trouble.value = problem;
}
/** The photo on the stage, where the service turns out to have none of it any more.
 * @type {import("./lib.js").Signal<import("./state.js").Photo | null>} */
export const forgotten = signal(null);
/** Pictures of the row before, and of the stage; null until they are there.
 * @type {import("./lib.js").Signal<import("./live.js").Cell[] | null>} */
export const rowBefore = signal(null);
/** @type {import("./lib.js").Signal<import("./live.js").Cell | null>} */
export const stageBefore = signal(null);
const rowLive = signal(null);
const stageLive = signal(null);
const statusesLive = signal(null);

/** What a job made of the document, in place of the live pictures, until the document is another. */
const made = signal({ of: "", cells: [], images: [] });
const madeNow = computed(() => (made.value.of === nameOf(doc.value) ? made.value : null));
const nameOf = (document_) => JSON.stringify({ ...document_, focus: 0 });

/** The pictures after. */
export const rowAfter = computed(() => madeNow.value?.cells ?? rowLive.value);
export const stageAfter = computed(() => madeNow.value?.cells[focused.value] ?? stageLive.value);
/** What became of each image, at rest: `{status, probability, before}`; null while it moves. */
export const statuses = computed(() => madeNow.value?.images ?? statusesLive.value);
/** Frames a second, and milliseconds from the slider to the picture, of late; 0 of too few. */
export const pace = signal({ fps: 0, latency: 0 });

// ms: the row leaves the stage its turns, and one that takes long waits until the slider rests
const APART = 150;
const SLOW = 150;
let rowTook = 0;
let rowSent = 0;
let ofFrames = null;

const wished = computed(() => JSON.stringify(message(doc.value)));

/** What the stage's session is of. */
const stageStart = computed(() => {
  const { seeds, ...rest } = subject.value;
  return seeds ? { seeds: [seeds[focused.value]], ...rest } : { ...rest };
});

/** Opens the sessions, and keeps them in step with the document for ever. */
export function run() {
  onAnswer((there) => {
    if (!there) server.value = "gone";
  });
  keepSession(() => JSON.stringify(stageStart.value), stageBefore, stageLive, true);
  keepSession(() => (doc.value.photo ? "" : JSON.stringify(subject.value)), rowBefore, rowLive, false);
  watch();
}

function keepSession(startOf, before, after, isStage) {
  const start = computed(startOf);
  effect(() => {
    if (!start.value) {
      before.value = after.value = null;
      return;
    }
    const number = untracked(() => (isStage ? 1 : count.value));
    const pick = (frame) => (isStage ? cells(frame, 1)[0] : cells(frame, number));
    const began = (frame) => {
      before.value = pick(frame);
      if (server.peek() !== "here") check();
    };
    const told = { onfirst: began, onlost: lost, onproblem: refused };
    const session = new Session(JSON.parse(start.value), told);
    let later = 0;
    const stop = effect(() => {
      const held = moving.value;
      const wish = { ...JSON.parse(wished.value), moving: held };
      const go = () => show(session, wish, pick, after, isStage);
      clearTimeout(later);
      if (isStage && !held) times.length = 0;
      if (isStage || !held) {
        const tells = !isStage || doc.peek().photo; // what became of each image
        if (!held && tells) statusesLive.value = null;
        go();
      } else if (rowTook < SLOW) later = setTimeout(go, rowSent + APART - performance.now());
    });
    return () => {
      clearTimeout(later);
      stop();
      session.close();
    };
  });
}

async function show(session, wish, pick, after, isStage) {
  const asked = performance.now();
  if (!isStage) rowSent = asked;
  try {
    const frame = await session.want(wish);
    if (!frame || session.closed) return;
    batch(() => {
      after.value = pick(frame);
      if (frame.images && (!isStage || doc.peek().photo)) statusesLive.value = frame.images;
      if (trouble.peek() === ofFrames) trouble.value = null;
    });
    if (isStage && wish.moving) keepPace(performance.now() - asked);
    if (!isStage) rowTook = wish.moving ? performance.now() - frame.sent : 0;
  } catch (problem) {
    if (!session.closed) trouble.value = ofFrames = problem;
  }
}

/** Shows what a job of the document as it stands has made.
 * @param {{result: {record: any, pictures: {role: string, url: string, image: string}[]}}} job
 * @param {import("./state.js").Doc} of the document that it was asked with */
export async function showMade(job, of) {
  const { pictures, record } = job.result;
  const shown = pictures.filter((one) => one.role === "picture");
  const cells_ = await Promise.all(shown.map(({ url }) => cellOf(url)));
  const images = shown.map(({ image }) => {
    const each = record.images.filter((one) => one.image === image); // one an edit
    return {
      status: each[0]?.status,
      before: each.map((one) => one.before),
      probability: each.map((one) => one.probability),
    };
  });
  made.value = { of: nameOf(of), cells: cells_, images };
}

async function cellOf(url) {
  const bitmap = await createImageBitmap(await file(url));
  return { bitmap, x: 0, y: 0, width: bitmap.width, height: bitmap.height };
}

/** No session of what is asked for: of a photo that was forgotten, there will be none. */
function refused(problem) {
  const { photo } = doc.peek();
  if (photo && problem.status === 404) forgotten.value = photo;
  else trouble.value = ofFrames = problem;
}

const times = []; // of the frames since the slider moved, the newest
const MOST_TIMES = 30;
function keepPace(latency) {
  const now = performance.now();
  if (times.push(now) > MOST_TIMES) times.shift();
  const fps = (1000 * (times.length - 1)) / (now - times[0]);
  const shown = times.length < 4 ? 0 : Number(fps.toFixed(fps < 9.95 ? 1 : 0));
  pace.value = { fps: shown, latency: Math.round(latency) };
}

/** A session that ended may do so alone, or with the server. */
function lost() {
  if (server.peek() === "here") check();
}

/** Whether the server is there, ready, and lets us in. */
async function check() {
  try {
    await get("ready");
    if (!atlas.peek() || server.peek() !== "here") atlas.value = (await get("atlases")).records[0];
    server.value = "here";
  } catch (error) {
    const told = { 401: "locked", 503: "loading" };
    server.value = error instanceof Gone ? "gone" : (told[error.status] ?? "here");
    if (server.peek() === "here") trouble.value = error;
  }
}

async function watch() {
  for (;;) {
    if (server.peek() !== "here") await check();
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}
