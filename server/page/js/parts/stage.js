// The stage: one way of looking at a time, and what became of the picture in a line below.
import { html, names, useEffect } from "../lib.js";
import { t } from "../i18n.js";
import { readOut } from "../notices.js";
import { doc, focused, look, moving } from "../state.js";
import { longStatus } from "../status.js";
import { pace, stageAfter, stageBefore, statuses } from "../studio.js";
import { Icon } from "./icons.js";
import { PhotoBar } from "./photos.js";
import { Row } from "./row.js";
import { Grid, One, Split, Strengths, Strip } from "./views.js";
import { holding, unzoom } from "./zoom.js";

const VIEWS = { one: One, split: Split, strengths: Strengths, strip: Strip, grid: Grid };

export function Stage({ children }) {
  const { view } = look.value;
  const View = VIEWS[view] ?? One;
  return html`
    <section class=${names("stage", `is-${view}`)} aria-label=${t("stageTitle")}>
      <div class="stage-tools">
        <div class="views" role="radiogroup" aria-label=${t("views")}>
          ${Object.keys(VIEWS).map(
            (name) => html`<label key=${name} class="view" title=${t(`view-${name}`)}>
              <input type="radio" name="view" checked=${view === name} onChange=${() => choose(name)} />
              <span><${Icon} name=${name} size="18" /><span class="view-name">${t(`view-${name}`)}</span></span>
            </label>`,
          )}
        </div>
        ${children}
      </div>
      <div class="stage-frame" data-ready=${Boolean(stageAfter.value)} style=${{ "--most": `${largest()}px` }}>
        <${View} />
      </div>
      <${Caption} view=${view} />
      <${Row} />
      <${PhotoBar} />
    </section>
  `;
}

/** A small picture is not blown up beyond what it holds. */
const largest = () => LARGEST * (stageBefore.value?.width ?? 64);
const LARGEST = 12;

function choose(view) {
  unzoom();
  look.value = { ...look.value, view };
}

function Caption({ view }) {
  const { photo, seeds } = doc.value;
  const image = statuses.value?.[photo ? 0 : focused.value];
  const name = photo ? photo.name || t("photo") : t("seed", { seed: seeds[focused.value] });
  const status = moving.value ? "" : longStatus(image);
  useEffect(() => {
    if (status) readOut(`${name}: ${status}`);
  }, [name, status]);
  const hold = {
    onPointerDown: () => (holding.value = true),
    onPointerUp: () => (holding.value = false),
    onPointerLeave: () => (holding.value = false),
    onKeyDown: (event) => [" ", "Enter"].includes(event.key) && (holding.value = true),
    onKeyUp: () => (holding.value = false),
    onBlur: () => (holding.value = false),
  };
  return html`
    <div class="caption">
      <p class="caption-words">
        <bdi class="caption-name">${name}</bdi>
        ${holding.value ? html`<span>${t("beforeShown")}</span>` : status && html`<span class=${`told is-${image?.status}`}>${status}</span>`}
        ${moving.value && pace.value.fps > 0 && html`<span class="pace">${t("pace", { fps: pace.value.fps, latency: pace.value.latency })}</span>`}
      </p>
      ${view === "one" && doc.value.edits.length > 0 &&
      html`<button type="button" class="plain hold" aria-label=${t("holdBefore")} aria-pressed=${holding.value} ...${hold}>
        <${Icon} name="eye" size="18" /><span>${t("holdBefore")}</span>
      </button>`}
    </div>
  `;
}
