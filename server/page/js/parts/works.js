// Work that takes its time, in the panel's foot.
import { html } from "../lib.js";
import { percent, t } from "../i18n.js";
import { callOff, works } from "../work.js";

const stateOf = ({ state, place, done, of, what }) => {
  if (state === "waiting" && place) return t("workPlace", { place });
  if (state !== "running") return t("workSent");
  return of ? `${what} ${percent(done / of)}` : t("workRunning");
};

export const Works = () => html`
  <ul class="works" aria-label=${t("works")}>
    ${works.value.map(
      (one) => html`<li key=${one.key} class="work">
        <span class="work-words"><bdi>${one.title}</bdi><small>${stateOf(one)}</small></span>
        <button type="button" class="quiet" onClick=${() => callOff(one)}>${t("cancel")}</button>
        <progress max="1" value=${one.of ? one.done / one.of : undefined} aria-label=${one.title}></progress>
      </li>`,
    )}
  </ul>
`;
