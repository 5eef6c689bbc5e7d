// The line on top: what is served, back and forth, the link, and how the page looks.
import { html, useEffect, useRef, useState } from "../lib.js";
import { LANGUAGES, t } from "../i18n.js";
import { copyLink } from "../keep.js";
import { settings } from "../memory.js";
import { history, redo, undo } from "../state.js";
import { atlas } from "../studio.js";
import { IconButton } from "./icons.js";

export function Top() {
  const { past, future } = history.value;
  return html`
    <header class="top">
      <h1 class="wordmark"><svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
        <circle cx="16" cy="16" r="12.5" /><path d="M7 11.5c6 2.6 12 2.6 18 0M7 20.5c6-2.6 12-2.6 18 0" /><circle cx="16" cy="16" r="2.2" />
      </svg>StyleAtlas</h1>
      ${atlas.value && html`<bdi class="served" title=${t("served")}>${atlas.value.name}</bdi>`}
      <span class="top-tools">
        <${IconButton} icon="undo" label=${t("undo")} disabled=${!past.length} onClick=${() => undo()} />
        <${IconButton} icon="redo" label=${t("redo")} disabled=${!future.length} onClick=${() => redo()} />
        <${IconButton} icon="link" label=${t("copyLink")} onClick=${copyLink} />
        <${Looks} />
      </span>
    </header>
  `;
}

const THEMES = ["auto", "light", "dark"];

function Looks() {
  const [open, setOpen] = useState(false);
  const box = useRef(null);
  useEffect(() => {
    if (!open) return;
    const away = (event) => box.current.contains(event.target) || setOpen(false);
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  const put = (part) => (settings.value = { ...settings.value, ...part });
  const key = (event) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    setOpen(false);
    box.current.querySelector("button").focus();
  };
  const choices = (name, list, said) => html`
    <div class="choices">${list.map(
      (one) => html`<label key=${one} class="choice"><input type="radio" name=${name} checked=${settings.value[name] === one}
        onChange=${() => put({ [name]: one })} /><span>${said(one)}</span></label>`,
    )}</div>`;
  return html`
    <div class="menu" ref=${box} onKeyDown=${key}>
      <${IconButton} icon="sliders" label=${t("settings")} aria-expanded=${open} aria-haspopup="true" onClick=${() => setOpen(!open)} />
      ${open &&
      html`<div class="menu-body" role="group" aria-label=${t("settings")}>
        <fieldset><legend>${t("theme")}</legend>${choices("theme", THEMES, (one) => t(`theme-${one}`))}</fieldset>
        <fieldset><legend>${t("language")}</legend>
          ${choices("language", ["auto", ...Object.keys(LANGUAGES)], (one) => LANGUAGES[one] ?? t("theme-auto"))}</fieldset>
        <p class="keys">${t("keysHint")}</p>
      </div>`}
    </div>
  `;
}
