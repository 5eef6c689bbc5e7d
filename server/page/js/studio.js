// Between the document and the live sessions: what is to be shown, and the pictures of it.
import { Gone, get, onAnswer } from "./api.js";
import { batch, computed, effect, signal, untracked } from "./lib.js";
import { Session, cells } from "./live.js";
import { count, doc, focused, message, moving, subject } from "./state.js";

/** The record of the atlas that is served; null until it is known. */
export const atlas = signal(null);
/** "here", "loading" while it loads its models, "gone". */
export const server = signal("loading");
/** The newest thing that could not be done, in words; "" where all is well. */
export const trouble = signal(null);
/** Pictures of the row before and after, and of the stage; null until they are there.
 * @type {import("./lib.js").Signal<import("./live.js").Cell[] | null>} */
export const rowBefore = signal(null);
export const rowAfter = signal(null);
/** @type {import("./lib.js").Signal<import("./live.js").Cell | null>} */
export const stageBefore = signal(null);
export const stageAfter = signal(null);
/** What became of each image, at rest: `{status, probability, before}`; null while it moves. */
export const statuses = signal(null);
/** Frames a second, and milliseconds from the slider to the picture, of late. */
export const pace = signal({ fps: 0, latency: 0 });

const SLOW = 150; // ms; a row that takes longer waits until the slider rests
let rowTook = 0;
let sessions = [];

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
  keepSession(() => JSON.stringify(stageStart.value), stageBefore, stageAfter, true);
  keepSession(() => (doc.value.photo ? "" : JSON.stringify(subject.value)), rowBefore, rowAfter, false);
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
    const session = new Session(JSON.parse(start.value), { onopen: opened, onlost: lost });
    sessions.push(session);
    session.ask({ edits: [] }).then(
      (frame) => {
        if (frame) before.value = pick(frame);
      },
      (problem) => (trouble.value = problem),
    );
    const stop = effect(() => {
      const held = moving.value;
      if (!isStage && held && rowTook > SLOW) return;
      show(session, { ...message(doc.value), moving: held }, pick, after, isStage);
    });
    return () => {
      stop();
      session.close();
      sessions = sessions.filter((one) => one !== session);
    };
  });
}

async function show(session, wish, pick, after, isStage) {
  const asked = performance.now();
  try {
    const frame = await session.want(wish);
    if (!frame || session.closed) return;
    batch(() => {
      after.value = pick(frame);
      if (frame.images && (!isStage || doc.peek().photo)) statuses.value = frame.images;
      trouble.value = null;
    });
    if (isStage) keepPace(performance.now() - asked);
    else rowTook = performance.now() - frame.sent;
  } catch (problem) {
    if (!session.closed) trouble.value = problem;
  }
}

const times = [];
function keepPace(latency) {
  const now = performance.now();
  times.push(now);
  while (times[0] < now - 1000) times.shift();
  pace.value = { fps: times.length, latency: Math.round(latency) };
}

function opened() {
  server.value = "here";
  if (!atlas.peek()) learn();
}

function lost() {
  if (server.peek() === "here") server.value = "gone";
}

/** Asks what is served, until somebody answers. */
async function learn() {
  try {
    const { records } = await get("atlases");
    atlas.value = records[0];
  } catch (error) {
    if (!(error instanceof Gone)) trouble.value = error;
  }
}

/** Whether the server is there, and ready: asked while it is not. */
async function watch() {
  for (;;) {
    if (server.peek() !== "here") {
      try {
        await get("ready");
        server.value = "here";
        await learn();
      } catch (error) {
        server.value = error instanceof Gone ? "gone" : error.status === 503 ? "loading" : "locked";
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
