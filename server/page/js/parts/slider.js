// A slider whose middle is where nothing is done. Arrows go a fine step, with shift a coarse one.
import { clamp, html, names } from "../lib.js";

export const FINE = 0.05;
export const COARSE = 0.5;

const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const rounded = (value) => Math.round(value / FINE) * FINE;

/**
 * @param {{value: number, least: number, most: number, label: string, text: string,
 *   disabled?: boolean, marks?: {at: number, label: string, main?: boolean}[],
 *   onMove: (value: number) => void, onRest: () => void}} given
 */
export function Slider({ value, least, most, label, text, disabled, marks = [], onMove, onRest }) {
  const share = (at) => (clamp(at, least, most) - least) / (most - least);
  const move = (to) => onMove(Number(clamp(rounded(to), least, most).toFixed(4)));
  const style = {
    "--from": share(Math.min(0, value)),
    "--to": share(Math.max(0, value)),
    "--zero": share(0),
    "--at": share(value),
  };
  const key = (event) => {
    const way = KEYS[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(value + way * (event.shiftKey ? COARSE : FINE));
  };
  return html`
    <span class=${names("slider", disabled && "is-off")} style=${style}>
      <span class="slider-track"></span>
      <span class="slider-fill"></span>
      <span class="slider-zero"></span>
      ${marks.map(
        (mark) => html`<span
          key=${mark.label}
          class=${names("slider-mark", mark.main && "is-main")}
          style=${{ "--mark": share(mark.at) }}
          title=${mark.label}
        ></span>`,
      )}
      <input
        type="range"
        min=${least}
        max=${most}
        step=${FINE}
        value=${value}
        aria-label=${label}
        aria-valuetext=${text}
        onInput=${(event) => move(near(Number(event.target.value), value))}
        onChange=${onRest}
        onPointerUp=${onRest}
        onKeyDown=${key}
        onKeyUp=${(event) => event.key in KEYS && onRest()}
        onBlur=${onRest}
      />
    </span>
  `;
}

/** A pointer that comes close to the middle is held there a little. */
const near = (to, from) => (Math.abs(to) < 0.06 && Math.abs(from) > 1e-9 ? 0 : to);
