// A dialog: what lies below waits, Escape shuts it, and the focus goes back to where it was.
import { html, useEffect, useRef } from "../lib.js";
import { t } from "../i18n.js";
import { IconButton } from "./icons.js";

/** What went wrong in it: the page's own, by a key of the texts as its `kind`, or the service's. */
export function Wrong({ problem }) {
  if (!problem) return null;
  const told = problem.kind ? t(problem.kind) : problem.message || t("serverGone");
  return html`<p class="dialog-problem" role="alert">${told} ${problem.mend}</p>`;
}

/** @param {{title: string, class?: string, onShut: () => void, children?: any}} given */
export function Dialog({ title, class: name = "", onShut, children }) {
  const box = useRef(null);
  useEffect(() => {
    const { activeElement: before } = document;
    box.current.showModal();
    return () => /** @type {HTMLElement} */ (before)?.focus?.();
  }, []);
  const beside = (event) => event.target === box.current && onShut();
  return html`
    <dialog class=${`dialog ${name}`} ref=${box} aria-label=${title} onPointerDown=${beside}
      onCancel=${(event) => (event.preventDefault(), onShut())}>
      <div class="dialog-body">
        <header class="dialog-head">
          <h2>${title}</h2>
          <${IconButton} icon="close" label=${t("close")} onClick=${onShut} />
        </header>
        ${children}
      </div>
    </dialog>
  `;
}
