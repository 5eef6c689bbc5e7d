// The prompt: from what to what, with phrases of the atlas and recent ones below.
import { get } from "../api.js";
import { html, names, signal, useEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n.js";
import { recent, used } from "../memory.js";
import { readOut } from "../notices.js";
import { NEUTRAL, addEdit } from "../state.js";
import { Icon } from "./icons.js";

export const LONGEST = 300;
const WAIT = 70; // ms after the last letter
const SUGGESTED = 12;
const neutral = signal(NEUTRAL);

const clean = (text) => text.replace(/\s+/g, " ").trim();

/** Phrases of the bank that begin so, without those that are there already. */
export async function phrases(prefix, signal_) {
  const { phrases: found } = await get("phrases", { prefix, top: SUGGESTED }, signal_);
  return found;
}

export function Prompt() {
  const [text, setText] = useState("");
  const add = (target) => {
    const to = clean(target);
    const from = clean(neutral.value) || NEUTRAL;
    if (!to || to === from) return;
    addEdit(from, to);
    used(to);
    readOut(t("addedSaid", { target: to }));
    setText("");
  };
  const offered = recent.value.slice(0, 6);
  return html`
    <section class="prompt" aria-label=${t("prompt")}>
      <label class="prompt-from">
        <span>${t("from")}</span>
        <${Combo} value=${neutral.value} onValue=${(v) => (neutral.value = v)}
          label=${t("neutral")} onPick=${(v) => (neutral.value = v)} class="is-small" />
      </label>
      <form class="prompt-to" onSubmit=${(event) => (event.preventDefault(), add(text))}>
        <${Combo} value=${text} onValue=${setText} onPick=${add} label=${t("target")}
          placeholder=${t("targetHint")} offered=${offered} id="target" />
        <button type="submit" class="round" aria-label=${t("add")} title=${t("add")}
          disabled=${!clean(text)}>
          <${Icon} name="next" />
        </button>
      </form>
    </section>
  `;
}

/** A text field with a list below that is gone through by arrows (the ARIA combobox). */
export function Combo({ value, onValue, onPick, label, placeholder = "", offered = [], id, class: name }) {
  const [list, setList] = useState([]);
  const [at, setAt] = useState(-1);
  const [open, setOpen] = useState(false);
  const box = useRef(null);
  const listId = `list-${id ?? label.replace(/\W/g, "")}`;
  useEffect(() => {
    if (!open) return;
    if (!clean(value)) return setList(offered);
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        setList(await phrases(clean(value), control.signal));
      } catch {
        setList([]);
      }
    }, WAIT);
    return () => (clearTimeout(timer), control.abort());
  }, [value, open, offered.join("\n")]);
  useEffect(() => setAt(-1), [list]);
  const pick = (chosen) => {
    setOpen(false);
    onPick(chosen);
  };
  const key = (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") setOpen(false);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const way = event.key === "ArrowDown" ? 1 : -1;
      setAt((was) => (was + way + list.length + 1 + 1) % (list.length + 1) - 1);
    }
    if (event.key === "Enter") {
      event.preventDefault();
      pick(open && at >= 0 ? list[at] : value);
    }
  };
  const focus = (event) => {
    setOpen(true);
    if (name === "is-small") event.target.select();
  };
  const shown = open && list.length > 0;
  useEffect(() => {
    // below the stage there is no room for the list
    if (shown && id && matchMedia("(max-width: 999px)").matches)
      box.current.scrollIntoView({ block: "start" });
  }, [shown]);
  return html`
    <span class=${names("combo", name)} ref=${box}
      onFocusOut=${(e) => box.current.contains(e.relatedTarget) || setOpen(false)}>
      <input type="text" role="combobox" autocomplete="off" autocapitalize="off" spellcheck="false"
        dir="auto" id=${id} maxlength=${LONGEST} value=${value} placeholder=${placeholder}
        aria-label=${label} aria-expanded=${shown} aria-controls=${listId} aria-autocomplete="list"
        aria-activedescendant=${shown && at >= 0 ? `${listId}-${at}` : undefined}
        onInput=${(e) => (setOpen(true), onValue(e.target.value))}
        onFocus=${focus}
        onKeyDown=${key} />
      <ul role="listbox" id=${listId} aria-label=${label} class="combo-list" hidden=${!shown}>
        ${shown &&
        list.map(
          (one, number) => html`<li role="option" key=${one} id=${`${listId}-${number}`} dir="auto"
            aria-selected=${number === at} onPointerDown=${(e) => e.preventDefault()}
            onClick=${() => pick(one)}>${one}</li>`,
        )}
      </ul>
    </span>
  `;
}
