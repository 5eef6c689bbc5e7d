// What every part of the page is made with, from one place.
import { Fragment, h, render } from "../vendor/preact.mjs";
import htm from "../vendor/htm.mjs";

export { Fragment, h, render };
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.mjs";
export {
  batch,
  computed,
  effect,
  signal,
  untracked,
  useComputed,
  useSignal,
  useSignalEffect,
} from "../vendor/signals.mjs";

/** @template T @typedef {{value: T, peek: () => T}} Signal */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);

/** Class names, without those that do not hold. */
export const names = (...given) => given.filter(Boolean).join(" ");

/** A number within bounds. */
export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
