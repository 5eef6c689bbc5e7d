// The row: the same edit on several images, any of which can be taken onto the stage.
import { html, names } from "../lib.js";
import { t } from "../i18n.js";
import { nextRow } from "../link.js";
import { doc, focusOn, step } from "../state.js";
import { shortStatus } from "../status.js";
import { rowAfter, rowBefore, statuses } from "../studio.js";
import { Icon } from "./icons.js";
import { PhotoButton } from "./photos.js";
import { Picture } from "./picture.js";

export function Row() {
  const { seeds, focus, photo } = doc.value;
  if (photo) return null;
  const onKey = (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const to = (focus + way + seeds.length) % seeds.length;
    focusOn(to);
    event.currentTarget.querySelectorAll("[role=radio]")[to]?.focus();
  };
  return html`
    <div class="row">
      <div class="row-cells" role="radiogroup" aria-label=${t("row")} onKeyDown=${onKey}>
        ${seeds.map((seed, at) => {
          const status = statuses.value?.[at];
          const word = shortStatus(status);
          return html`<button type="button" role="radio" key=${seed} class=${names("cell", at === focus && "is-on")}
            aria-checked=${at === focus} tabindex=${at === focus ? 0 : -1}
            aria-label=${[t("seed", { seed }), word].filter(Boolean).join(", ")}
            onClick=${() => focusOn(at)}>
            <${Picture} of=${() => (rowAfter.value ?? rowBefore.value)?.[at]} />
            <span class=${names("cell-word", status && `is-${status.status}`)}>${word}</span>
          </button>`;
        })}
      </div>
      <div class="row-tools">
        <button type="button" class="plain" aria-label=${t("othersHint")} onClick=${() => step("others", { seeds: nextRow(seeds), focus: 0 })}>
          <${Icon} name="next" size="16" /><span>${t("others")}</span>
        </button>
        <${PhotoButton} />
      </div>
    </div>
  `;
}
