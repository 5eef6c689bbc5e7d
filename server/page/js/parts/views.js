// Ways of comparing: a divider across, strengths side by side, the row before and after, prompts by
// images.
import { clamp, html, names, useRef } from "../lib.js";
import { current } from "../facts.js";
import { useFrames } from "../frames.js";
import { num, percent, t } from "../i18n.js";
import { readOut } from "../notices.js";
import { doc, focused, look, message, step, subject, withEdit } from "../state.js";
import { rowAfter, rowBefore, stageAfter, stageBefore } from "../studio.js";
import { Picture } from "./picture.js";
import { Zoomable, holding, zoom } from "./zoom.js";

const before = () => stageBefore.value;
const after = () => stageAfter.value ?? stageBefore.value;

/** One picture; held, it is the one before. */
export const One = () => html`
  <${Zoomable} label=${t("stage")}>
    <${Picture} of=${() => (holding.value ? before() : after())} label=${t("pictureAfter")} class="is-main" />
  <//>
`;

/** Before on the left of a line that is dragged, after on its right. */
export function Split() {
  const frame = useRef(null);
  const at = look.value.split;
  const put = (to) => (look.value = { ...look.value, split: clamp(to, 0, 1) });
  const drag = (event) => {
    if (!event.buttons) return;
    const box = frame.current.getBoundingClientRect();
    put((event.clientX - box.left) / box.width);
  };
  const key = (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    put(at + way * (event.shiftKey ? 0.1 : 0.02));
  };
  const { scale, x } = zoom.value;
  const cut = clamp(0.5 + (at - 0.5 - x) / scale, 0, 1); // where the line stands in the picture
  return html`
    <div class="split" ref=${frame} style=${{ "--split": at, "--cut": cut }}>
      <${Zoomable} canHold=${false} label=${t("stage")}>
        <${Picture} of=${after} label=${t("pictureAfter")} class="is-main" />
        <${Picture} of=${before} label=${t("pictureBefore")} class="is-cut" />
      <//>
      <span class="split-word is-left">${t("before")}</span>
      <span class="split-word is-right">${t("after")}</span>
      <div class="split-line" data-handle role="slider" tabindex="0" aria-label=${t("divider")}
        aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * at)}
        aria-valuetext=${percent(at)} onKeyDown=${key} onPointerMove=${drag}
        onPointerDown=${(event) => event.currentTarget.setPointerCapture(event.pointerId)}></div>
    </div>
  `;
}

const STRENGTHS = [0, 0.4, 0.7, 1, 1.3, 1.6];

/** The edit at hand at several strengths, any of which can be taken. */
export function Strengths() {
  const edit = current.value;
  const { seeds, ...rest } = subject.value;
  const start = seeds ? { seeds: [seeds[focused.value]], ...rest } : rest;
  const unit = edit && Math.abs(edit.alpha) > 0.05 ? edit.alpha : 1;
  const steps = STRENGTHS.map((share) => Number((share * unit).toFixed(3)));
  const frames = useFrames(start, 1, () => {
    const edit_ = current.value;
    const unit_ = edit_ && Math.abs(edit_.alpha) > 0.05 ? edit_.alpha : 1;
    return STRENGTHS.map((share) =>
      message({ ...doc.value, ...(edit_ ? withEdit(edit_.id, { alpha: share * unit_, on: true }) : {}) }),
    );
  });
  if (!edit) return html`<p class="hint">${t("needsEdit")}</p>`;
  const take = (alpha) => {
    step("strength", withEdit(edit.id, { alpha, on: true }), edit.target);
    readOut(t("taken", { alpha: num(alpha) }));
  };
  return html`
    <ol class="strengths">
      ${steps.map(
        (alpha, at) => html`<li key=${at}>
          <button type="button" class=${names("strength", alpha === edit.alpha && "is-on")}
            aria-label=${t("takeStrength", { alpha: num(alpha) })} aria-pressed=${alpha === edit.alpha} onClick=${() => take(alpha)}>
            <${Picture} of=${() => frames.value[at]?.[0]} />
            <span>${num(alpha)}</span>
          </button>
        </li>`,
      )}
    </ol>
  `;
}

/** The whole row, before above and after below. */
export function Strip() {
  const seeds = doc.value.photo ? [null] : doc.value.seeds;
  const old = (at) => (doc.value.photo ? stageBefore.value : rowBefore.value?.[at]);
  const made = (at) => (doc.value.photo ? after() : (rowAfter.value ?? rowBefore.value)?.[at]);
  return html`
    <div class="strip" tabindex="0" role="group" aria-label=${t("view-strip")} style=${{ "--columns": seeds.length }}>
      ${seeds.map(
        (seed, at) => html`<figure key=${at}>
          <${Picture} of=${() => old(at)} label=${t("pictureBefore")} />
          <${Picture} of=${() => made(at)} label=${t("pictureAfter")} />
          <figcaption>${seed ?? ""}</figcaption>
        </figure>`,
      )}
    </div>
  `;
}

/** A row a prompt, each by itself, and one of all together; a column an image. */
export function Grid() {
  const { edits, photo, seeds } = doc.value;
  const columns = photo ? [""] : seeds;
  const rows = (of) => [
    { name: t("before"), doc: { ...of, edits: [] } },
    ...of.edits.map((edit) => ({ name: edit.target, doc: { ...of, edits: [{ ...edit, on: true, alpha: edit.alpha || 1 }] } })),
    ...(of.edits.length > 1 ? [{ name: t("together"), doc: of }] : []),
  ];
  const frames = useFrames(subject.value, columns.length, () => rows(doc.value).map((row) => message(row.doc)));
  if (!edits.length) return html`<p class="hint">${t("needsEdits")}</p>`;
  return html`
    <div class="grid-scroll" tabindex="0" role="group" aria-label=${t("view-grid")}>
      <table class="grid" style=${{ "--columns": columns.length }}>
        <thead><tr><td></td>${columns.map((seed) => html`<th scope="col" key=${seed}>${seed}</th>`)}</tr></thead>
        <tbody>
          ${rows(doc.value).map(
            (row, y) => html`<tr key=${row.name}>
              <th scope="row"><bdi>${row.name}</bdi></th>
              ${columns.map((seed, x) => html`<td key=${seed}><${Picture} of=${() => frames.value[y]?.[x]} label=${`${row.name}, ${seed}`} /></td>`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  `;
}
