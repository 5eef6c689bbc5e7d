// A picture looked at closely: wheel, pinch, double click or keys make it larger, drag moves it.
// Held without moving, it shows what it was before.
import { clamp, html, signal, useRef } from "../lib.js";
import { num, t } from "../i18n.js";

const MOST = 8;
const SLACK = 6; // px a finger may move while it holds

/** Of the stage. */
export const zoom = signal({ scale: 1, x: 0, y: 0 });
/** Whether what was before is shown. */
export const holding = signal(false);

const within = ({ scale, x, y }) => {
  const most = (scale - 1) / 2;
  return { scale, x: clamp(x, -most, most), y: clamp(y, -most, most) };
};

/** Makes it larger around a point, which is told in shares of the frame from its middle. */
export function zoomAt(factor, px = 0, py = 0) {
  const { scale, x, y } = zoom.value;
  const to = clamp(scale * factor, 1, MOST);
  const by = to / scale;
  zoom.value = within({ scale: to, x: px - (px - x) * by, y: py - (py - y) * by });
}
export const unzoom = () => (zoom.value = { scale: 1, x: 0, y: 0 });

/** A frame around pictures that are all moved alike. */
export function Zoomable({ children, canHold = true, label }) {
  const frame = useRef(null);
  const fingers = useRef(new Map());
  const travelled = useRef(0);
  const place = (event) => {
    const box = frame.current.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  };
  const down = (event) => {
    if (event.button || event.target.closest("[data-handle]")) return;
    fingers.current.set(event.pointerId, [event.clientX, event.clientY]);
    travelled.current = 0;
    frame.current.setPointerCapture(event.pointerId);
    holding.value = canHold && fingers.current.size === 1;
  };
  const move = (event) => {
    const was = fingers.current.get(event.pointerId);
    if (!was) return;
    const box = frame.current.getBoundingClientRect();
    const now = [event.clientX, event.clientY];
    travelled.current += Math.hypot(now[0] - was[0], now[1] - was[1]);
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    if (other) {
      holding.value = false;
      const gap = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      zoomAt(gap(now) / Math.max(1, gap(was)), ...place(event));
    } else if (zoom.value.scale > 1 && travelled.current > SLACK) {
      holding.value = false;
      const { scale, x, y } = zoom.value;
      zoom.value = within({ scale, x: x + (now[0] - was[0]) / box.width, y: y + (now[1] - was[1]) / box.height });
    }
  };
  const up = (event) => {
    fingers.current.delete(event.pointerId);
    holding.value = false;
  };
  const wheel = (event) => {
    if (!event.ctrlKey && zoom.value.scale === 1 && !matchMedia("(min-width: 1000px)").matches) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), ...place(event));
  };
  const double = (event) => {
    if (event.target.closest("[data-handle]")) return;
    if (zoom.value.scale > 1) unzoom();
    else zoomAt(2.5, ...place(event));
  };
  const keys = { "+": () => zoomAt(1.4), "=": () => zoomAt(1.4), "-": () => zoomAt(1 / 1.4), 0: unzoom };
  const key = (event) => {
    const { scale, x, y } = zoom.value;
    const way = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (way && scale > 1 && event.target === event.currentTarget) {
      event.preventDefault();
      zoom.value = within({ scale, x: x + way[0], y: y + way[1] });
    } else if (!event.ctrlKey && !event.metaKey && keys[event.key]) keys[event.key]();
  };
  const { scale, x, y } = zoom.value;
  return html`
    <div class="zoomable" ref=${frame} tabindex="0" role="group" aria-label=${label}
      data-zoomed=${scale > 1} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up}
      onPointerCancel=${up} onWheel=${wheel} onDblClick=${double} onKeyDown=${key}
      onContextMenu=${(event) => event.pointerType === "touch" && event.preventDefault()}>
      <div class="zoomed" style=${{ transform: `translate(${100 * x}%, ${100 * y}%) scale(${scale})` }}>
        ${children}
      </div>
      ${scale > 1 &&
      html`<button type="button" class="zoom-told" data-handle onClick=${unzoom} title=${t("unzoom")}>${num(scale, 1)}×</button>`}
    </div>
  `;
}
