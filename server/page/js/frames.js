// Frames beside those of the stage and the row: the same images at other strengths, by other
// prompts. One session while a comparison is looked at; asked again once the document rests.
import { signal, useEffect, useMemo, useSignalEffect } from "./lib.js";
import { Session, cells } from "./live.js";
import { moving } from "./state.js";

/**
 * Cells of each message, in their order; null for those that are still to come.
 * @param {object} start what the session is of
 * @param {number} count images
 * @param {() => object[]} messages may read signals
 * @returns {import("./lib.js").Signal<(import("./live.js").Cell[] | null)[]>}
 */
export function useFrames(start, count, messages) {
  const shown = useMemo(() => signal([]), []);
  const text = JSON.stringify(start);
  const held = useMemo(() => ({ session: /** @type {Session | null} */ (null), round: 0 }), []);
  const ask = async (wishes) => {
    const session = held.session;
    const round = (held.round += 1);
    if (!session) return;
    if (shown.peek().length !== wishes.length) shown.value = wishes.map(() => null);
    for (const [at, wish] of wishes.entries()) {
      let frame = null;
      try {
        frame = await session.ask(wish);
      } catch {
        // what cannot be drawn stays empty; the stage tells why
      }
      if (round !== held.round) return;
      if (frame) shown.value = shown.peek().with(at, cells(frame, count));
    }
  };
  useEffect(() => {
    held.session = new Session(start);
    shown.value = [];
    ask(messages());
    return () => {
      held.round += 1;
      held.session.close();
      held.session = null;
    };
  }, [text]);
  useSignalEffect(() => {
    const wishes = messages();
    if (!moving.value) ask(wishes);
  });
  return shown;
}
