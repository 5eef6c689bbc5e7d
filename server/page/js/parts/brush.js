// The whole photo: a brush says where it may change, and the edit is laid back into it.
import { clamp, html, names, signal, useEffect, useLayoutEffect, useMemo, useRef, useSignal } from "../lib.js";
import { file } from "../api.js";
import { Mask } from "../brush.js";
import { t } from "../i18n.js";
import { save } from "../keep.js";
import { heldOf, putBack } from "../photo.js";
import { doc } from "../state.js";
import { Photograph } from "./crop.js";
import { Dialog, Wrong } from "./dialog.js";
import { Icon } from "./icons.js";
import { Works } from "./works.js";

/** Whether its dialog is open. */
export const whole = signal(false);
/** Masks by their photos, as long as the page is there. @type {Map<string, Mask>} */
const masks = new Map();

export function WholePhoto() {
  const { photo, edits } = doc.value;
  const held = heldOf(photo);
  const mask = useMemo(() => held && maskOf(photo, held.bitmap), [photo.photo]);
  const made = useSignal(/** @type {any} */ (null));
  const state = useSignal({ only: Boolean(mask?.painted.value), erases: false, breadth: 0.12, busy: false, problem: null, before: false });
  const put = (part) => (state.value = { ...state.value, ...part });
  const { only, busy, problem, before } = state.value;

  const make = async () => {
    put({ busy: true, problem: null });
    try {
      const job = await putBack(only ? await mask.blob() : null);
      if (job) made.value = await shown(job.result);
    } catch (failed) {
      put({ problem: failed });
    } finally {
      put({ busy: false });
    }
  };
  useEffect(() => () => made.peek() && URL.revokeObjectURL(made.peek().url), []);
  const back = () => {
    URL.revokeObjectURL(made.value.url);
    made.value = null;
  };
  const hold = {
    onPointerDown: () => put({ before: true }),
    onPointerUp: () => put({ before: false }),
    onPointerLeave: () => put({ before: false }),
    onKeyDown: (event) => [" ", "Enter"].includes(event.key) && put({ before: true }),
    onKeyUp: () => put({ before: false }),
    onBlur: () => put({ before: false }),
  };
  const lacks = edits.length === 0 ? "photoNoEdit" : only && !mask.painted.value ? "brushNothing" : "";
  const { width = 1, height = 1 } = held?.bitmap ?? made.value ?? {};
  return html`
    <${Dialog} title=${t("photoPutBack")} class="is-whole" onShut=${() => (whole.value = false)}>
      <div class="crop" style=${{ "--ratio": width / height }}>
        ${held && html`<${Photograph} bitmap=${held.bitmap} label=${t("photoBefore")} />`}
        ${made.value && !(before && held) && html`<img class="photograph is-made" src=${made.value.url} alt=${t("photoAfter")} />`}
        ${!made.value && only && html`<${Paint} mask=${mask} state=${state.value} />`}
      </div>
      <${Wrong} problem=${problem} />
      ${busy && html`<${Works} />`}
      ${made.value
        ? html`<div class="dialog-foot">
            <p class="aside">${made.value.notes.join(" ")}</p>
            ${held && html`<button type="button" class="plain" ...${hold}><${Icon} name="eye" size="16" />${t("holdBefore")}</button>`}
            <button type="button" class="plain" onClick=${back}>${t("photoAgain")}</button>
            <button type="button" class="main" onClick=${() => save(made.value.blob, made.value.name)}><${Icon} name="download" size="16" />${t("photoSave")}</button>
          </div>`
        : html`<div class="dialog-foot">
            ${mask && html`<${Tools} mask=${mask} state=${state.value} put=${put} />`}
            ${lacks && html`<p class="aside" id="photo-lacks">${t(lacks)}</p>`}
            <button type="button" class="main" disabled=${Boolean(busy || lacks)} aria-describedby=${lacks && "photo-lacks"} onClick=${make}>${t("photoMake")}</button>
          </div>`}
    <//>
  `;
}

function maskOf(photo, { width, height }) {
  if (!masks.has(photo.photo)) masks.set(photo.photo, new Mask(width, height));
  return masks.get(photo.photo);
}

/** The photo that came back, as it is to be saved: in the format that it was sent in. */
async function shown({ pictures, notes }) {
  const view = pictures.find(({ role }) => role === "photo");
  const blob = await file(view.url, view.type);
  const ending = view.type.replace("image/", "").replace("jpeg", "jpg");
  const name = `${doc.value.photo.name || "photo"}-edited.${ending}`;
  return { url: URL.createObjectURL(blob), blob, name, notes, width: view.width, height: view.height };
}

function Tools({ mask, state, put }) {
  const { only, erases, breadth } = state;
  const painted = useSignal(0);
  return html`
    <div class="brush-tools" role="group" aria-label=${t("brush")}>
      <label class="tick"><input type="checkbox" checked=${only} onChange=${() => put({ only: !only })} /><span>${t("brushOnly")}</span></label>
      ${only &&
      html`<label class="brush-size"><span>${t("brushSize")}</span>
          <input type="range" min="0.01" max="0.4" step="0.01" value=${breadth} onInput=${(event) => put({ breadth: Number(event.target.value) })} /></label>
        <button type="button" class=${names("plain", erases && "is-on")} aria-pressed=${erases} onClick=${() => put({ erases: !erases })}>${t("brushErase")}</button>
        <button type="button" class="plain" onClick=${() => (mask.clear(), (painted.value += 1), put({ cleared: painted.value }))}>${t("brushClear")}</button>`}
    </div>
  `;
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** What is painted, over the photo. By keys: arrows move the brush, with space held they paint. */
function Paint({ mask, state }) {
  const canvas = useRef(null);
  const last = useRef(/** @type {[number, number] | null} */ (null));
  const at = useSignal(/** @type {[number, number]} */ ([mask.size[0] / 2, mask.size[1] / 2]));
  const isDown = useRef(false);
  const { erases } = state;
  const breadth = state.breadth * Math.min(...mask.size);
  const show = () => {
    const shown = canvas.current;
    shown.width = mask.canvas.width;
    shown.height = mask.canvas.height;
    const pen = shown.getContext("2d");
    pen.drawImage(mask.canvas, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = getComputedStyle(shown).color;
    pen.fillRect(0, 0, shown.width, shown.height);
  };
  useLayoutEffect(show, [mask, state]);
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const { size } = mask;
    return /** @type {[number, number]} */ ([
      ((event.clientX - box.left) / box.width) * size[0],
      ((event.clientY - box.top) / box.height) * size[1],
    ]);
  };
  const paint = (to) => {
    mask.stroke(last.current ?? to, to, breadth, erases);
    last.current = to;
    show();
  };
  const down = (event) => {
    if (event.button) return;
    canvas.current.setPointerCapture(event.pointerId);
    last.current = null;
    at.value = place(event);
    paint(at.value);
  };
  const move = (event) => {
    at.value = place(event);
    if (event.buttons) paint(at.value);
  };
  const key = (event) => {
    if (event.key === " ") {
      event.preventDefault();
      if (!isDown.current) last.current = null;
      isDown.current = true;
      return paint(at.value);
    }
    const way = KEYS[event.key];
    if (!way) return;
    event.preventDefault();
    const by = (event.shiftKey ? 0.1 : 0.02) * Math.min(...mask.size);
    at.value = [clamp(at.value[0] + way[0] * by, 0, mask.size[0]), clamp(at.value[1] + way[1] * by, 0, mask.size[1])];
    if (isDown.current) paint(at.value);
  };
  const up = (event) => {
    if (event.key !== " ") return;
    isDown.current = false;
    mask.rest();
  };
  const ring = {
    left: `${(100 * at.value[0]) / mask.size[0]}%`,
    top: `${(100 * at.value[1]) / mask.size[1]}%`,
    width: `${(100 * breadth) / mask.size[0]}%`,
  };
  return html`
    <canvas class="paint" ref=${canvas} tabindex="0" role="img" aria-label=${t("brushCanvas")}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${() => mask.rest()} onKeyDown=${key} onKeyUp=${up}></canvas>
    <span class="brush-ring" style=${ring} aria-hidden="true"></span>
  `;
}
