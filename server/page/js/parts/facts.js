// What the generator itself knows of a prompt: in a sentence, and in pictures.
import { html, useEffect } from "../lib.js";
import { examplesOf, factsOf, learnExamples } from "../facts.js";
import { percent, t } from "../i18n.js";

const KINDS = {
  "two-state": "kindTwo",
  graded: "kindGraded",
  rare: "kindRare",
  "always there": "kindAlways",
  unknown: "kindUnknown",
};
const MIDDLE = 1; // the row of the sheet
const EXAMPLES = 6;

export function Facts({ edit }) {
  const record = factsOf(edit)?.record;
  useEffect(() => {
    if (record && record.kind) learnExamples(edit);
  }, [record]);
  if (!record) return html`<p class="facts is-waiting">${t("asking")}</p>`;
  const sheet = record.kind && record.kind !== "unknown" ? examplesOf(edit) : null;
  return html`
    <div class="facts">
      <p>${sentence(record)}</p>
      ${record.held?.length > 0 && html`<p class="aside">${t("held", { phrases: record.held.slice(0, 3).join(", ") })}</p>`}
      ${record.inseparable?.length > 0 && html`<p class="aside">${t("inseparable", { phrases: record.inseparable.slice(0, 3).join(", ") })}</p>`}
      ${sheet && !sheet.problem && html`<${Examples} sheet=${sheet} target=${edit.target} />`}
    </div>
  `;
}

function sentence({ kind, share }) {
  if (!kind) return t("kindNone");
  const word = t(KINDS[kind] ?? "kindNone");
  return share === null ? word : `${t("share", { share: percent(share) })} ${word}`;
}

/** Cells of the sheet, by moving it behind small windows. */
function Examples({ sheet, target }) {
  return html`
    <div class="examples" role="img" aria-label=${t("examplesOf", { target })}>
      ${Array.from({ length: EXAMPLES }, (_, at) => {
        const x = sheet.left + at * sheet.cell;
        return html`<span key=${at} style=${{
          backgroundImage: `url("${sheet.url}")`,
          backgroundSize: `${(100 * sheet.width) / sheet.cell}% auto`,
          backgroundPosition: `${(100 * x) / (sheet.width - sheet.cell)}% ${(100 * MIDDLE) / 2}%`,
        }}></span>`;
      })}
    </div>
  `;
}
