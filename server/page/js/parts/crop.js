// What of a photo is taken: a square that is moved and sized, by pointer, by fingers, by keys.
import { html, names, useLayoutEffect, useRef } from "../lib.js";
import { t } from "../i18n.js";
import { choosing, cut, quadOf, takeFace } from "../photo.js";

const SHOWN = 1400; // pixels of the longer side at which a photo is painted

/** A photo in a canvas no larger than it is seen. */
export function Photograph({ bitmap, label }) {
  const canvas = useRef(null);
  useLayoutEffect(() => {
    const scale = Math.min(1, SHOWN / Math.max(bitmap.width, bitmap.height));
    const shown = canvas.current;
    shown.width = Math.round(bitmap.width * scale);
    shown.height = Math.round(bitmap.height * scale);
    const pen = shown.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, shown.width, shown.height);
    shown.dataset.painted = "yes";
  }, [bitmap]);
  return html`<canvas class="photograph" ref=${canvas} role="img" aria-label=${label}></canvas>`;
}

/** The part by itself, upright. */
export function Part({ held, align, face }) {
  const canvas = useRef(null);
  useLayoutEffect(() => {
    const quad = quadOf({ held, align, face });
    if (!quad.length) return;
    const side = (canvas.current.width = canvas.current.height = 256);
    const [[x, y], [downX, downY], , [acrossX, acrossY]] = quad;
    const [a, b, c, d] = [acrossX - x, acrossY - y, downX - x, downY - y].map((one) => one / side);
    const pen = canvas.current.getContext("2d");
    pen.imageSmoothingQuality = "high";
    const inverse = new DOMMatrix([a, b, c, d, x, y]).inverse();
    pen.setTransform(inverse);
    pen.drawImage(held.bitmap, 0, 0);
    canvas.current.dataset.painted = "yes";
  }, [held, String(align), face]);
  return html`<canvas class="picture" ref=${canvas} role="img" aria-label=${t("photoPart")}></canvas>`;
}

/** @type {[number, number][]} */
const CORNERS = [
  [0, 0],
  [1, 0],
  [0, 1],
  [1, 1],
];
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function Crop() {
  const { held, align, face } = choosing.value;
  const { bitmap } = held;
  const { width, height } = bitmap;
  const frame = useRef(null);
  const fingers = useRef(new Map());
  const box = align === "face" ? boxOf(quadOf({ held, align, face })) : align;
  const [x, y, size] = box;

  /** Pixels of the photo for one of the screen. */
  const scale = () => width / frame.current.getBoundingClientRect().width;
  const around = (to, [fx, fy] = [0.5, 0.5]) => cut([x + (size - to) * fx, y + (size - to) * fy, to]);
  const down = (event) => {
    fingers.current.set(event.pointerId, [event.clientX, event.clientY]);
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const up = (event) => fingers.current.delete(event.pointerId);
  const moved = (event) => {
    const was = fingers.current.get(event.pointerId);
    if (!was) return null;
    const now = [event.clientX, event.clientY];
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    return { by: [now[0] - was[0], now[1] - was[1]], was, now, other };
  };
  const drag = (event) => {
    const told = moved(event);
    if (!told) return;
    const { by, was, now, other } = told;
    const gap = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
    if (other) around((size * gap(now)) / Math.max(1, gap(was)));
    else cut([x + by[0] * scale(), y + by[1] * scale(), size]);
  };
  const pull = ([cx, cy]) => (event) => {
    event.stopPropagation();
    const told = moved(event);
    if (!told) return;
    const [dx, dy] = told.by;
    const by = ((cx ? dx : -dx) + (cy ? dy : -dy)) / 2;
    around(size + by * scale(), [1 - cx, 1 - cy]);
  };
  const wheel = (event) => {
    event.preventDefault();
    around(size * Math.exp(event.deltaY * 0.001));
  };
  const key = (event) => {
    const way = KEYS[event.key];
    const by = Math.max(1, Math.round(size * (event.shiftKey ? 0.1 : 0.01)));
    const sized = { "+": 1, "=": 1, "-": -1 }[event.key];
    if (!way && !sized) return;
    event.preventDefault();
    if (way) cut([x + way[0] * by, y + way[1] * by, size]);
    else around(size + 2 * by * sized);
  };
  const style = {
    left: `${(100 * x) / width}%`,
    top: `${(100 * y) / height}%`,
    width: `${(100 * size) / width}%`,
    height: `${(100 * size) / height}%`,
  };
  const pointer = { onPointerDown: down, onPointerUp: up, onPointerCancel: up };
  return html`
    <div class="crop" ref=${frame} style=${{ "--ratio": width / height }}>
      <${Photograph} bitmap=${bitmap} label=${t("photo")} />
      <${Faces} held=${held} align=${align} face=${face} />
      <div class=${names("crop-box", align === "face" && "is-face")} style=${style} tabindex="0" role="group" data-box=${box.join(" ")}
        aria-label=${t("photoBox", { x: Math.round(x), y: Math.round(y), size: Math.round(size) })}
        ...${pointer} onPointerMove=${drag} onWheel=${wheel} onKeyDown=${key}>
        ${align !== "face" &&
        CORNERS.map(
          (corner) => html`<span key=${corner.join("")} class="crop-corner" style=${{ left: `${100 * corner[0]}%`, top: `${100 * corner[1]}%` }}
            onPointerDown=${(event) => (event.stopPropagation(), down(event))}
            onPointerMove=${pull(corner)} onPointerUp=${up} onPointerCancel=${up}></span>`,
        )}
      </div>
    </div>
    <label class="crop-size"><span>${t("photoSize")}</span>
      <input type="range" min="32" max=${Math.min(width, height)} value=${size} onInput=${(event) => around(Number(event.target.value))} />
    </label>
  `;
}

/** Those that were found, as they lie. */
function Faces({ held, align, face }) {
  const { width, height } = held.bitmap;
  return html`
    <svg class="crop-faces" viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      ${held.faces.map(
        (one) => html`<polygon key=${one.face} class=${names(align === "face" && one.face === face && "is-on")}
          points=${one.quad.map((corner) => corner.join(",")).join(" ")} onClick=${() => takeFace(one.face)} />`,
      )}
    </svg>
  `;
}

/** A square about a quadrilateral, from which one that is moved by hand begins. */
function boxOf(quad) {
  if (!quad.length) return [0, 0, 32];
  const [xs, ys] = [0, 1].map((axis) => quad.map((corner) => corner[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const side = Math.max(Math.max(...xs) - left, Math.max(...ys) - top);
  return [left, top, side];
}
