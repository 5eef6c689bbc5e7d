// What is told in passing: to everybody in a line on top, to screen readers in the live region.
import { effect, html, signal } from "./lib.js";
import { t } from "./i18n.js";
import { atlas, server, trouble } from "./studio.js";

/** The link that the page was opened by, until it was told of. */
export const linked = signal(null);
/** Why the photo is no more that stood on the stage, a key of the texts, until it was told of. */
export const photoLost = signal("");
/** A line that goes away by itself. */
const passing = signal("");
let timer = 0;

/** Tells something: shown for a while, and read out. @param {string} text */
export function say(text, seconds = 4) {
  passing.value = text;
  readOut(text);
  clearTimeout(timer);
  timer = setTimeout(() => (passing.value = ""), 1000 * seconds);
}

/** Reads something out, and shows nothing. @param {string} text */
export function readOut(text) {
  const region = document.getElementById("live");
  if (region) region.textContent = text;
}

const foreign = () => {
  const link = linked.value;
  if (!link || !atlas.value) return "";
  if (link.atlas && link.atlas !== atlas.value.name)
    return t("linkOther", { theirs: link.atlas, ours: atlas.value.name });
  return link.photo ? t("linkPhoto") : "";
};

let wasGone = false;
effect(() => {
  if (server.value === "gone") wasGone = true;
  else if (wasGone && server.value === "here") {
    wasGone = false;
    readOut(t("serverBack"));
  }
});

const Understood = ({ done }) =>
  html`<button type="button" class="quiet" onClick=${done}>${t("understood")}</button>`;

const ofServer = { gone: "serverGone", loading: "serverLoading", locked: "serverLocked" };

export function Notices() {
  const state = ofServer[server.value];
  const link = foreign();
  const problem = trouble.value;
  return html`
    <div class="notices">
      ${state && html`<p class="notice" role="status"><span class="pulse"></span>${t(state)}</p>`}
      ${link &&
      html`<p class="notice" role="status">${link} <${Understood} done=${() => (linked.value = null)} /></p>`}
      ${photoLost.value &&
      html`<p class="notice" role="status">${t(photoLost.value)} <${Understood} done=${() => (photoLost.value = "")} /></p>`}
      ${problem &&
      !state &&
      html`<p class="notice is-wrong" role="alert">
        <span>${problem.message} ${problem.mend && html`<br /><small>${problem.mend}</small>`}</span>
        <${Understood} done=${() => (trouble.value = null)} />
      </p>`}
      ${passing.value && html`<p class="notice is-passing">${passing.value}</p>`}
    </div>
  `;
}
