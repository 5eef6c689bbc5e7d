// What is kept: the steps so far, presets, and everything that can be taken along.
import { html, names, useState } from "../lib.js";
import { t } from "../i18n.js";
import { copyLink, copyRecipe, downloadFilm, downloadLatents, downloadPicture } from "../keep.js";
import { read, written } from "../link.js";
import { presets } from "../memory.js";
import { say } from "../notices.js";
import { doc, edits, history, redo, step, undo } from "../state.js";
import { complain } from "../studio.js";
import { Icon, IconButton } from "./icons.js";

const tried = (deed) => async () => {
  try {
    await deed();
  } catch (problem) {
    complain(problem);
  }
};

export function Saved() {
  const none = !edits(doc.value).length;
  const line = (icon, label, hint, deed, disabled = false) => html`
    <li><button type="button" class="deed" disabled=${disabled} onClick=${tried(deed)}>
      <${Icon} name=${icon} size="18" /><span>${label}<small>${hint}</small></span>
    </button></li>`;
  return html`
    <div class="saved">
      <section aria-labelledby="take-title">
        <h2 id="take-title">${t("take")}</h2>
        <ul class="deeds">
          ${line("link", t("copyLink"), t("copyLinkHint"), copyLink)}
          ${line("download", t("picture"), t("pictureHint"), downloadPicture, none)}
          ${line("download", t("film"), t("filmHint"), () => downloadFilm("webp"), none)}
          ${doc.value.photo && line("download", t("latents"), t("latentsHint"), downloadLatents)}
          ${line("right", t("copyCommand"), t("copyCommandHint"), () => copyRecipe("command"), none)}
          ${line("right", t("copyPython"), t("copyPythonHint"), () => copyRecipe("python"), none)}
        </ul>
      </section>
      <${Presets} />
      <${Steps} />
    </div>
  `;
}

function Presets() {
  const [name, setName] = useState("");
  const keep = (event) => {
    event.preventDefault();
    const called = name.trim().slice(0, 60);
    if (!called) return;
    const others = presets.value.filter((one) => one.name !== called);
    presets.value = [{ name: called, doc: written(doc.value) }, ...others];
    setName("");
    say(t("presetKept", { name: called }));
  };
  const use = (one) => {
    const { edits: list, keep: held, layers, beta, method } = read(one.doc).doc;
    step("preset", { edits: list, keep: held, layers, beta, method }, one.name);
  };
  return html`
    <section aria-labelledby="presets-title">
      <h2 id="presets-title">${t("presets")}</h2>
      <form class="preset-new" onSubmit=${keep}>
        <input type="text" maxlength="60" dir="auto" value=${name} aria-label=${t("presetName")} placeholder=${t("presetName")}
          onInput=${(event) => setName(event.target.value)} />
        <button type="submit" class="plain" disabled=${!name.trim() || !doc.value.edits.length}>${t("presetKeep")}</button>
      </form>
      <ul class="presets">
        ${presets.value.map(
          (one) => html`<li key=${one.name}>
            <button type="button" class="preset" onClick=${() => use(one)}><bdi>${one.name}</bdi></button>
            <${IconButton} icon="close" size="16" label=${t("presetDrop", { name: one.name })}
              onClick=${() => (presets.value = presets.value.filter((other) => other !== one))} />
          </li>`,
        )}
      </ul>
    </section>
  `;
}

/** The newest first; a step is gone back to, or forth to, by a click. */
function Steps() {
  const { past, future } = history.value;
  const told = ({ word, detail }) => t(`step-${word}`, { detail });
  const ahead = [...future].map((one, at) => ({ one, go: () => redo(future.length - at) }));
  const behind = [...past].reverse().map((one, at) => ({ one, go: () => undo(at) }));
  return html`
    <section aria-labelledby="steps-title">
      <h2 id="steps-title">${t("history")}</h2>
      <ol class="steps" reversed>
        ${ahead.map(({ one, go }, at) => html`<li key=${`a${at}`}><button type="button" class="past is-ahead" onClick=${go}><bdi>${told(one)}</bdi></button></li>`)}
        ${behind.map(
          ({ one, go }, at) => html`<li key=${`b${past.length - at}`}>
            <button type="button" class=${names("past", at === 0 && "is-now")} aria-current=${at === 0 ? "step" : undefined} onClick=${go}><bdi>${told(one)}</bdi></button></li>`,
        )}
        <li><button type="button" class=${names("past", !past.length && "is-now")} onClick=${() => undo(past.length)}>${t("beginning")}</button></li>
      </ol>
    </section>
  `;
}
