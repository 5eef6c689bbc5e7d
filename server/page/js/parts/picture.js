// A cell of a frame, painted into a canvas without the view being made anew.
import { html, useRef, useSignalEffect } from "../lib.js";

/** @param {{of: () => import("../live.js").Cell | null | undefined, label?: string,
 *   class?: string}} given `of` may read signals, and is asked again when they change */
export function Picture({ of, label, class: name = "" }) {
  const canvas = useRef(null);
  const latest = useRef(of);
  latest.current = of;
  useSignalEffect(() => {
    const cell = latest.current();
    if (canvas.current && cell) paint(canvas.current, cell);
  });
  return html`<canvas
    ref=${canvas}
    class=${`picture ${name}`}
    role=${label ? "img" : undefined}
    aria-label=${label}
    aria-hidden=${label ? undefined : "true"}
    width="8"
    height="8"
  ></canvas>`;
}

function paint(canvas, cell) {
  const width = Math.round(cell.width);
  const height = Math.round(cell.height);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas
    .getContext("2d", { alpha: false })
    .drawImage(cell.bitmap, cell.x, cell.y, cell.width, cell.height, 0, 0, width, height);
  canvas.dataset.painted = "yes";
}
