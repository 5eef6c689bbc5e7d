// The edits: a slider each, on or off, in an order, and as far as the service finds right.
import { html, names, signal, useRef, useEffect } from "../lib.js";
import { current, factsOf, findAlphas, foundOf } from "../facts.js";
import { num, t } from "../i18n.js";
import { readOut } from "../notices.js";
import { active, change, doc, focused, moveEdit, moving, removeEdit, settle, step, withEdit } from "../state.js";
import { complain } from "../studio.js";
import { Facts } from "./facts.js";
import { Icon, IconButton } from "./icons.js";
import { Slider } from "./slider.js";

const REACH = 2.5; // of an alpha in units of the samples' own step
const FAR = 10; // of the table's, which are sigmas
const busy = signal(/** @type {Record<number, boolean>} */ ({}));

export function Edits() {
  const { edits } = doc.value;
  if (!edits.length) return null;
  return html`
    <ol class="edits" aria-label=${t("edits")}>
      ${edits.map((edit, at) => html`<${EditRow} key=${edit.id} edit=${edit} at=${at} of=${edits.length} />`)}
    </ol>
  `;
}

/** How far the slider goes to either side. */
function reachOf(edit) {
  const record = factsOf(edit)?.record;
  const usual = record && record.source === "table" ? FAR : REACH;
  const most = Math.max(Math.abs(edit.alpha), ...(foundOf(edit) ?? []).map(({ alpha }) => Math.abs(alpha)));
  return most > usual ? Math.ceil(most * 1.2) : usual;
}

/** Becomes the active one by keys or a whole click: at the first touch already, its facts would open
 * and push what is being clicked from under the pointer. */
function EditRow({ edit, at, of }) {
  const reach = reachOf(edit);
  const isActive = current.value?.id === edit.id;
  const found = foundOf(edit);
  const problem = factsOf(edit)?.problem;
  const row = useRef(null);
  useEffect(() => {
    if (isActive) row.current?.scrollIntoView?.({ block: "nearest" });
  }, [isActive]);
  const move = (alpha) => {
    moving.value = true;
    change(withEdit(edit.id, { alpha }));
  };
  const marks = (found ?? [])
    .map(({ alpha }, number) => ({ at: alpha, number }))
    .filter((mark) => mark.at !== 0)
    .map((mark) => ({
      at: mark.at,
      main: mark.number === focused.value,
      label: t("foundMark", { image: mark.number + 1, alpha: num(mark.at) }),
    }));
  return html`
    <li ref=${row} class=${names("edit", isActive && "is-active", !edit.on && "is-off")}
      onFocusIn=${(e) => e.target.matches(":focus-visible") && (active.value = edit.id)}
      onClick=${() => (active.value = edit.id)}>
      <div class="edit-head">
        <button type="button" role="switch" class="switch" aria-checked=${edit.on}
          aria-label=${t("switch", { target: edit.target })}
          onClick=${() => step(edit.on ? "switchedOff" : "switchedOn", withEdit(edit.id, { on: !edit.on }), edit.target)}>
        </button>
        <span class="edit-words">
          <bdi class="edit-target" title=${edit.target}>${edit.target}</bdi>
          <bdi class="edit-neutral">${t("fromThat", { neutral: edit.neutral })}</bdi>
        </span>
        <${Alpha} edit=${edit} />
        <span class="edit-tools">
          <${IconButton} icon="up" label=${t("moveUp", { target: edit.target })} size="16"
            disabled=${at === 0} onClick=${() => moveEdit(edit, -1)} />
          <${IconButton} icon="down" label=${t("moveDown", { target: edit.target })} size="16"
            disabled=${at === of - 1} onClick=${() => moveEdit(edit, 1)} />
          <${IconButton} icon="close" label=${t("remove", { target: edit.target })} size="16"
            onClick=${() => removeEdit(edit)} />
        </span>
      </div>
      <div class="edit-slide">
        <${Slider} value=${edit.alpha} least=${-reach} most=${reach} marks=${marks} disabled=${!edit.on}
          label=${t("strengthOf", { target: edit.target })} text=${num(edit.alpha)}
          onMove=${move} onRest=${() => settle("strength", edit.target)} />
        <button type="button" class="auto" disabled=${busy.value[edit.id] || !edit.on}
          aria-busy=${busy.value[edit.id]} title=${t("autoHint")} onClick=${() => automatic(edit)}>
          <${Icon} name="find" size="18" />${t("auto")}
        </button>
      </div>
      ${problem && html`<p class="edit-problem" role="alert">${problem.message} ${problem.mend}</p>`}
      ${found && isActive && html`<p class="found">${tellFound(found)}</p>`}
      ${isActive && !problem && html`<${Facts} edit=${edit} />`}
    </li>
  `;
}

/** The number itself, to be typed. */
function Alpha({ edit }) {
  const take = (event) => {
    const value = Number(event.target.value.replace(",", ".").replace("−", "-"));
    if (Number.isFinite(value) && event.target.value.trim() && Math.abs(value) <= 20)
      step("strength", withEdit(edit.id, { alpha: Math.round(value * 1000) / 1000 }), edit.target);
    event.target.value = num(edit.alpha);
  };
  return html`<input class="alpha" inputmode="decimal" value=${num(edit.alpha)} autocomplete="off"
    aria-label=${t("alphaOf", { target: edit.target })}
    onFocus=${(e) => e.target.select()} onChange=${take}
    onKeyDown=${(e) => e.key === "Enter" && e.target.blur()} />`;
}

/** To where the image on the stage shows it; where that one need not move, to the middle of those
 * that do. */
async function automatic(edit) {
  busy.value = { ...busy.value, [edit.id]: true };
  try {
    const found = await findAlphas(edit);
    const others = found.map(({ alpha }) => alpha).filter(Boolean).sort((a, b) => a - b);
    const own = found[focused.value]?.alpha || others[Math.floor(others.length / 2)] || 0;
    step("automatic", withEdit(edit.id, { alpha: Math.round(own * 1000) / 1000 }), edit.target);
    readOut(tellFound(found));
  } catch (problem) {
    complain(problem);
  } finally {
    busy.value = { ...busy.value, [edit.id]: false };
  }
}

function tellFound(found) {
  const own = found[focused.value];
  const moved = found.map(({ alpha }) => alpha).filter(Boolean);
  const stays = found.length - moved.length;
  const words = [
    own?.alpha ? t("foundHere", { alpha: num(own.alpha) }) : t("foundStays"),
    found.length > 1 && moved.length > 1
      ? t("foundRange", { least: num(Math.min(...moved)), most: num(Math.max(...moved)) })
      : "",
    found.length > 1 && stays ? t("foundOthers", { count: stays }) : "",
  ];
  return words.filter(Boolean).join(" ");
}
