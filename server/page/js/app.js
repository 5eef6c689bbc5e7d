// The page as a whole: the line on top, the stage, and the panel beside or below it.
import { effect, html, signal, useEffect } from "./lib.js";
import { learnFacts, learnTries, tries } from "./facts.js";
import { language, t } from "./i18n.js";
import { settings } from "./memory.js";
import { Notices, say } from "./notices.js";
import { NEUTRAL, addEdit, body, doc, redo, undo } from "./state.js";
import { complain, server, showMade } from "./studio.js";
import { work } from "./work.js";
import { Edits } from "./parts/edits.js";
import { Explore } from "./parts/explore.js";
import { Further, Held } from "./parts/further.js";
import { PhotoDialogs } from "./parts/photos.js";
import { Prompt } from "./parts/prompt.js";
import { Saved } from "./parts/saved.js";
import { Stage } from "./parts/stage.js";
import { Top } from "./parts/top.js";
import { Works } from "./parts/works.js";
import { holding } from "./parts/zoom.js";

const tab = signal("steer");
const TABS = { steer: Steer, explore: Explore, saved: Saved };

effect(() => {
  const { theme } = settings.value;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
effect(() => {
  const words = doc.value.edits.filter((edit) => edit.on).map((edit) => edit.target);
  document.title = [...words.slice(0, 2), "StyleAtlas"].join(" · ");
});
learnFacts();

export function App() {
  useEffect(() => {
    const heard = { keydown: key, keyup: release, blur: letGo, visibilitychange: letGo };
    for (const [kind, hear] of Object.entries(heard)) addEventListener(kind, hear);
    return () => {
      for (const [kind, hear] of Object.entries(heard)) removeEventListener(kind, hear);
    };
  }, []);
  const Tab = TABS[tab.value];
  return html`
    <div class="page" lang=${language.value}>
      <a class="skip" href="#panel">${t("skip")}</a>
      <${Top} />
      <${Notices} />
      <main class="studio">
        <${Stage} />
        <section class="panel" id="panel" aria-label=${t("panel")}>
          <div class="tabs" role="tablist" aria-label=${t("panel")} onKeyDown=${turn}>
            ${Object.keys(TABS).map(
              (name) => html`<button type="button" role="tab" key=${name} id=${`tab-${name}`} aria-selected=${tab.value === name}
                aria-controls="tab-body" tabindex=${tab.value === name ? 0 : -1} onClick=${() => (tab.value = name)}>${t(`tab-${name}`)}</button>`,
            )}
          </div>
          <div class="tab-body" id="tab-body" role="tabpanel" aria-labelledby=${`tab-${tab.value}`}><${Tab} /></div>
          <${Works} />
        </section>
      </main>
      <${PhotoDialogs} />
    </div>
  `;
}

function Steer() {
  const { edits } = doc.value;
  return html`
    <${Prompt} />
    ${edits.length ? html`<${Edits} /><${Held} />` : html`<${Welcome} />`}
    <${Further} onWork=${workOut} />
  `;
}

/** What to begin with, for whoever comes first. */
function Welcome() {
  const here = server.value === "here";
  useEffect(() => {
    if (here) learnTries(NEUTRAL).catch(() => {}); // one can write without them
  }, [here]);
  return html`
    <p class="welcome">${t("welcome")}</p>
    <div class="tries" role="group" aria-label=${t("tries")}>
      ${tries.value.map(
        (one) => html`<button type="button" class="plain" key=${one} onClick=${() => addEdit(NEUTRAL, one)}>${one}</button>`,
      )}
    </div>
  `;
}

/** The edit by a way that no live session has. */
async function workOut() {
  try {
    const of = doc.value;
    const job = await work(t(`method-${of.method}`), "edits", { ...body(of), alpha: null });
    if (!job) return;
    await showMade(job, of);
    say(job.result.record.why.join(" "), 8);
  } catch (problem) {
    complain(problem);
  }
}

function turn(event) {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!way) return;
  const list = Object.keys(TABS);
  tab.value = list[(list.indexOf(tab.value) + way + list.length) % list.length];
  requestAnimationFrame(() => document.getElementById(`tab-${tab.value}`)?.focus());
}

const writes = (target) => target.matches?.("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select");

function key(event) {
  if (event.defaultPrevented || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    const pressed = event.key.toLowerCase();
    if (!["z", "y"].includes(pressed) || writes(event.target)) return;
    event.preventDefault();
    if (event.shiftKey || pressed === "y") redo();
    else undo();
  } else if (!writes(event.target)) {
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("target")?.focus();
    } else if (event.key.toLowerCase() === "b") holding.value = true;
  }
}

function release(event) {
  if (event.key.toLowerCase() === "b") letGo();
}

/** A key that is let go in another window is never heard of. */
function letGo() {
  holding.value = false;
}
