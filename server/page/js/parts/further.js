// What an edit is to leave alone, and what is seldom asked for: layers, beta, psi, other ways.
import { html, useState } from "../lib.js";
import { num, t } from "../i18n.js";
import { doc, step } from "../state.js";
import { atlas } from "../studio.js";
import { Icon, IconButton } from "./icons.js";
import { Combo } from "./prompt.js";

/** Things that stay as they are. */
export function Held() {
  const { keep } = doc.value;
  const [text, setText] = useState("");
  const add = (given) => {
    const phrase = given.replace(/\s+/g, " ").trim();
    setText("");
    if (phrase && !keep.includes(phrase)) step("kept", { keep: [...keep, phrase] }, phrase);
  };
  const drop = (phrase) => step("unkept", { keep: keep.filter((one) => one !== phrase) }, phrase);
  return html`
    <section class="held" aria-labelledby="held-title">
      <h2 id="held-title">${t("keep")}</h2>
      <div class="tags">
        ${keep.map(
          (phrase) => html`<span class="tag" key=${phrase}><bdi>${phrase}</bdi>
            <${IconButton} icon="close" size="14" label=${t("unkeep", { phrase })} onClick=${() => drop(phrase)} />
          </span>`,
        )}
        <${Combo} value=${text} onValue=${setText} onPick=${add} label=${t("keepAdd")} placeholder=${t("keepHint")} class="is-tag" />
      </div>
    </section>
  `;
}

/** @type {import("../state.js").Doc["method"][]} */
const METHODS = ["direction", "auto", "mapper", "optimize"];

/** Layers, beta, psi, and how. */
export function Further({ onWork }) {
  const { truncation, beta, method, layers } = doc.value;
  return html`
    <details class="further">
      <summary><${Icon} name="right" size="16" />${t("more")}</summary>
      <div class="further-body">
      <${Plain} name="truncation" value=${truncation} least=${0} most=${1.2} label=${t("truncation")} hint=${t("truncationHint")} />
      <div class="line">
        <span>${t("beta")}<small>${t("betaHint")}</small></span>
        <span class="line-end">
          ${beta !== null && html`<button type="button" class="quiet" onClick=${() => step("beta", { beta: null })}>${t("byItself")}</button>`}
          <input class="alpha" inputmode="decimal" placeholder=${t("auto")} value=${beta === null ? "" : num(beta, 3)}
            aria-label=${t("beta")} onChange=${takeBeta} />
        </span>
      </div>
      <fieldset class="layers">
        <legend>${t("layers")}<small>${layers.length ? t("layersSome", { count: layers.length }) : t("layersAll")}</small></legend>
        <${Layers} />
      </fieldset>
      <fieldset class="method">
        <legend>${t("method")}<small>${t(`method-${method}-hint`)}</small></legend>
        <div class="choices">
          ${METHODS.map(
            (one) => html`<label key=${one} class="choice"><input type="radio" name="method" checked=${method === one}
              onChange=${() => step("method", { method: one })} /><span>${t(`method-${one}`)}</span></label>`,
          )}
        </div>
        ${method !== "direction" && html`<button type="button" class="plain" onClick=${onWork}>${t("workOut")}</button>`}
      </fieldset>
      </div>
    </details>
  `;
}

function takeBeta(event) {
  const text = event.target.value.trim();
  const value = Number(text.replace(",", "."));
  if (!text) step("beta", { beta: null });
  else if (value > 0 && value < 1) step("beta", { beta: value });
  event.target.value = doc.value.beta === null ? "" : num(doc.value.beta, 3);
}

/** What takes other images: they are asked for once the slider is let go. */
function Plain({ name, value, least, most, label, hint }) {
  const [held, setHeld] = useState(null);
  const rest = (event) => {
    setHeld(null);
    step(name, { [name]: Number(event.target.value) });
  };
  return html`
    <label class="line">
      <span>${label}<small>${hint}</small></span>
      <span class="line-end">
        <input type="range" class="bare" min=${least} max=${most} step="0.05" value=${value}
          aria-valuetext=${num(held ?? value)}
          onInput=${(e) => setHeld(Number(e.target.value))} onChange=${rest} />
        <output>${num(held ?? value)}</output>
      </span>
    </label>
  `;
}

/** A row a resolution: what is coarse above, what is fine below. */
function Layers() {
  const rows = new Map();
  for (const { layer, resolution } of atlas.value?.layers ?? [])
    rows.set(resolution, [...(rows.get(resolution) ?? []), layer]);
  const chosen = new Set(doc.value.layers);
  const turn = (group, on) => {
    const next = new Set(chosen);
    for (const layer of group) on ? next.add(layer) : next.delete(layer);
    step("layers", { layers: (atlas.value?.layers ?? []).map((l) => l.layer).filter((l) => next.has(l)) });
  };
  return html`<div class="choices">
    ${[...rows].map(([resolution, group]) => {
      const on = group.every((layer) => chosen.has(layer));
      return html`<label key=${resolution} class="choice" title=${group.join(", ")}>
        <input type="checkbox" checked=${on} onChange=${() => turn(group, !on)} /><span>${resolution}</span></label>`;
    })}
  </div>`;
}
