// Explore: what the atlas knows of the edit at hand, down to the channels that it moves.
import { html, names, signal, useEffect, useSignal } from "../lib.js";
import { Gone, done, get } from "../api.js";
import { current, examplesOf, learnExamples } from "../facts.js";
import { num, percent, t } from "../i18n.js";
import { addEdit, doc, focused, step } from "../state.js";
import { atlas, server } from "../studio.js";
import { Icon } from "./icons.js";

const MOST = 1000; // channels that are asked for
const SHOWN = 12;
const STEPS = [-10, -5, 0, 5, 10]; // sigma
const NEAR = 8;

/** The layer, and the channel, that are looked at. */
const chosen = signal({ layer: "", channel: "" });

export function Explore() {
  const edit = current.value;
  const [neutral, target] = [edit?.neutral, edit?.target];
  const answer = useAnswer(
    () => edit && get("directions", { neutral, target, top: MOST }),
    [neutral, target],
  );
  if (!edit) return html`<p class="hint">${t("exploreNeedsEdit")}</p>`;
  if (answer.problem) return html`<p class="hint" role="alert">${answer.problem.message} ${answer.problem.mend}</p>`;
  const record = answer.value;
  return html`
    <div class="explore">
      <h2 class="explore-title"><bdi>${target}</bdi> <small><bdi>${t("fromThat", { neutral })}</bdi></small></h2>
      ${record ? html`<${Layers} record=${record} /><${Channels} record=${record} />` : html`<p class="hint">${t("asking")}</p>`}
      <${Others} edit=${edit} />
      <${Similar} edit=${edit} />
      <${Samples} edit=${edit} />
    </div>
  `;
}

/** What a question comes to, asked anew when what it is about changes, and when the service is back:
 * `{value, problem}`. */
function useAnswer(question, about) {
  const answer = useSignal(/** @type {{value?: any, problem?: any}} */ ({}));
  const isGone = server.value === "gone";
  useEffect(() => {
    let over = isGone;
    if (over) return;
    answer.value = {};
    Promise.resolve(question()).then(
      (value) => !over && (answer.value = { value }),
      (problem) => !over && !(problem instanceof Gone) && (answer.value = { problem }),
    );
    return () => (over = true);
  }, [...about, isGone]);
  return answer.value;
}

/** How much of the edit each layer takes. */
function Layers({ record }) {
  const layers = atlas.value?.layers ?? [];
  const share = Object.fromEntries(layers.map(({ layer }) => [layer, 0]));
  for (const { channel, score } of record.channels) share[layerOf(channel)] += score ** 2;
  const whole = Object.values(share).reduce((sum, one) => sum + one, 0) || 1;
  const most = Math.max(...Object.values(share)) || 1;
  const { layer: at } = chosen.value;
  const toggle = (layer) => (chosen.value = { ...chosen.value, layer: at === layer ? "" : layer });
  return html`
    <section class="explore-part" aria-labelledby="explore-layers">
      <h3 id="explore-layers">${t("exploreLayers")}</h3>
      <p class="aside">${t("exploreLayersHint", { count: record.channels_moved })}</p>
      <div class="layers-chart">
        ${layers.map(
          ({ layer, resolution }) => html`<button type="button" key=${layer} class=${names("layer-bar", at === layer && "is-on")}
            aria-pressed=${at === layer} aria-label=${t("exploreLayer", { layer, share: percent(share[layer] / whole) })} title=${`${layer}: ${percent(share[layer] / whole)}`}
            onClick=${() => toggle(layer)}>
            <span class="layer-fill" style=${{ height: `${(100 * share[layer]) / most}%` }}></span>
            <span class="layer-name">${layer.includes("conv0") || layer === layers[0].layer ? resolution : ""}</span>
          </button>`,
        )}
      </div>
      ${at && html`<${OnlyLayer} layer=${at} share=${share[at] / whole} />`}
    </section>
  `;
}

function OnlyLayer({ layer, share }) {
  const { layers } = doc.value;
  const isOnly = layers.length === 1 && layers[0] === layer;
  return html`<p class="layer-told"><span><b>${layer}</b> · ${percent(share)}</span>
    <button type="button" class="quiet" aria-pressed=${isOnly} onClick=${() => step("layers", { layers: isOnly ? [] : [layer] })}>
      ${t(isOnly ? "exploreAllLayers" : "exploreOnly")}</button></p>`;
}

const layerOf = (channel) => channel.slice(0, channel.lastIndexOf(":"));

function Channels({ record }) {
  const { layer, channel: open } = chosen.value;
  const found = record.channels.filter(({ channel }) => !layer || layerOf(channel) === layer).slice(0, SHOWN);
  return html`
    <section class="explore-part" aria-labelledby="explore-channels">
      <h3 id="explore-channels">${layer ? t("exploreChannelsOf", { layer }) : t("exploreChannels")}</h3>
      ${found.length === 0 && html`<p class="aside">${t("exploreNone")}</p>`}
      <ul class="channels">
        ${found.map(
          ({ channel, score, step: by }) => html`<li key=${channel}>
            <button type="button" class="channel" aria-expanded=${open === channel} onClick=${() => (chosen.value = { layer, channel: open === channel ? "" : channel })}>
              <span class="channel-name">${channel}</span>
              <span class="bar" aria-hidden="true"><span style=${{ left: `${50 + 50 * Math.min(0, score)}%`, width: `${50 * Math.abs(score)}%` }}></span></span>
              <span class="figure" title=${t("exploreStep", { step: num(by) })}>${num(score)}</span>
            </button>
            ${open === channel && html`<${Channel} channel=${channel} />`}
          </li>`,
        )}
      </ul>
    </section>
  `;
}

/** A channel from −k to +k on the picture of the stage, and what it means in phrases. */
function Channel({ channel }) {
  const { seeds, photo, truncation } = doc.value;
  const seed = photo ? 1 : seeds[focused.value]; // a sheet is of seeds alone
  const sheet = useAnswer(
    () => done("sheets/channels", { channels: [channel], seeds: [seed], steps: STEPS, truncation }, undefined, { wait: 30 }),
    [channel, seed, truncation],
  );
  const phrases = useAnswer(() => get(`channels/${encodeURIComponent(channel)}`, { top: 3 }), [channel]);
  const cells = sheet.value?.result.pictures.find(({ role }) => role === "cells");
  const sides = { towards: [], away: [] };
  for (const { side, prompt } of phrases.value?.records ?? []) sides[side]?.push(prompt);
  return html`
    <div class="channel-body">
      ${photo && html`<p class="aside">${t("exploreOnSeed", { seed })}</p>`}
      ${sheet.problem && html`<p class="aside" role="alert">${sheet.problem.message}</p>`}
      <div class="channel-cells" style=${{ aspectRatio: cells ? `${cells.width} / ${cells.height}` : `${STEPS.length} / 1` }}>
        ${cells && html`<img src=${cells.url} alt=${t("exploreCells", { channel, seed })} />`}
      </div>
      <ol class="channel-steps" aria-hidden="true">${STEPS.map((k) => html`<li key=${k}>${k ? `${k > 0 ? "+" : "−"}${Math.abs(k)} σ` : "0"}</li>`)}</ol>
      <p class="channel-sides">
        <span>${sides.away.map((phrase) => html`<bdi key=${phrase}>${phrase}</bdi>`)}</span>
        <span>${sides.towards.map((phrase) => html`<bdi key=${phrase}>${phrase}</bdi>`)}</span>
      </p>
    </div>
  `;
}

/** What else the edit moves; each can be kept as it is. */
function Others({ edit }) {
  const { neutral, target } = edit;
  const answer = useAnswer(() => get("entangled", { neutral, target, top: 5 }), [neutral, target]);
  const found = answer.value?.records ?? [];
  const most = Math.max(...found.map(({ moves }) => Math.abs(moves)), 1e-9);
  const { keep } = doc.value;
  const toggle = (prompt) =>
    keep.includes(prompt)
      ? step("unkept", { keep: keep.filter((one) => one !== prompt) }, prompt)
      : step("kept", { keep: [...keep, prompt] }, prompt);
  return html`
    <section class="explore-part" aria-labelledby="explore-others">
      <h3 id="explore-others">${t("exploreOthers")}</h3>
      <p class="aside">${t("exploreOthersHint")}</p>
      <ul class="others">
        ${found.map(
          ({ prompt, moves, side }) => html`<li key=${prompt}>
            <bdi class="phrase">${prompt}</bdi>
            <span class="bar" role="img" aria-label=${t(side === "away" ? "exploreLess" : "exploreMore")}>
              <span style=${{ left: `${50 + (50 * Math.min(0, moves)) / most}%`, width: `${(50 * Math.abs(moves)) / most}%` }}></span></span>
            <button type="button" class="quiet" aria-pressed=${keep.includes(prompt)} aria-label=${t("exploreKeep", { phrase: prompt })} onClick=${() => toggle(prompt)}>
              ${t(keep.includes(prompt) ? "exploreKept" : "exploreKeepIt")}</button>
          </li>`,
        )}
      </ul>
    </section>
  `;
}

/** Phrases whose edits go the same way. */
function Similar({ edit }) {
  const { neutral, target } = edit;
  const answer = useAnswer(() => get("similar", { neutral, target, top: NEAR + 4 }), [neutral, target]);
  const found = (answer.value?.records ?? []).filter(({ prompt }) => prompt !== target).slice(0, NEAR);
  return html`
    <section class="explore-part" aria-labelledby="explore-similar">
      <h3 id="explore-similar">${t("exploreSimilar")}</h3>
      <ul class="phrases">
        ${found.map(
          ({ prompt, style_cosine: cosine }) => html`<li key=${prompt}>
            <button type="button" class="phrase-button" title=${t("exploreAlike", { cosine: num(cosine) })} onClick=${() => addEdit(neutral, prompt, 1)}>
              <${Icon} name="plus" size="14" /><bdi>${prompt}</bdi></button>
          </li>`,
        )}
      </ul>
    </section>
  `;
}

const ROWS = ["exploreMost", "exploreMiddle", "exploreLacks"];

/** Samples of the generator that have it most, in the middle, and lack it. */
function Samples({ edit }) {
  useEffect(() => {
    learnExamples(edit);
  }, [edit.neutral, edit.target]);
  const sheet = examplesOf(edit);
  return html`
    <section class="explore-part" aria-labelledby="explore-samples">
      <h3 id="explore-samples">${t("exploreSamples")}</h3>
      ${sheet?.problem && html`<p class="aside">${sheet.problem.message}</p>`}
      ${sheet &&
      !sheet.problem &&
      ROWS.map(
        (row, at) => html`<figure key=${row} class="samples-row">
          <figcaption>${t(row)}</figcaption>
          <div class="samples-window" role="img" aria-label=${`${edit.target}: ${t(row)}`} style=${{
            aspectRatio: `${sheet.width - sheet.left} / ${sheet.cell}`,
            backgroundImage: `url("${sheet.url}")`,
            backgroundSize: `${(100 * sheet.width) / (sheet.width - sheet.left)}% 300%`,
            backgroundPosition: `100% ${50 * at}%`,
          }}></div>
        </figure>`,
      )}
    </section>
  `;
}
