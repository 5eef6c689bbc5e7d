// Own photos on the page: how they come, what of them is taken, and where they stand then.
import { html, names, useEffect, useRef, useSignal } from "../lib.js";
import { num, t } from "../i18n.js";
import { kept } from "../memory.js";
import * as photos from "../photo.js";
import { doc } from "../state.js";
import { stageBefore } from "../studio.js";
import { WholePhoto, whole } from "./brush.js";
import { Crop, Part } from "./crop.js";
import { Dialog, Wrong } from "./dialog.js";
import { Icon, IconButton } from "./icons.js";
import { Picture } from "./picture.js";
import { Works } from "./works.js";

/** Opens the dialog. */
export const PhotoButton = () => html`
  <button type="button" class="plain" aria-label=${t("photoOwn")} onClick=${() => photos.open()}>
    <${Icon} name="photo" size="16" /><span>${t("photoOwn")}</span>
  </button>
`;

/** In place of the row: the photo's part, how the generator draws it, and what there is to do. */
export function PhotoBar() {
  const { photo } = doc.value;
  if (!photo) return null;
  const held = photos.heldOf(photo);
  return html`
    <section class="photo-bar" aria-label=${t("photo")}>
      <div class="photo-pair">
        ${held && html`<figure><${Part} held=${held} align=${photo.align} face=${photo.face} /><figcaption>${t("photoPart")}</figcaption></figure>`}
        <figure><${Picture} of=${() => stageBefore.value} label=${t("photoDrawn")} /><figcaption>${t("photoDrawn")}</figcaption></figure>
      </div>
      <div class="photo-told">
        ${photo.cosine && html`<p class="aside">${t("photoNear", { cosine: num(photo.cosine) })} ${photo.doubtful && t("photoDoubt")}</p>`}
        <div class="photo-tools">
          <button type="button" class="main" onClick=${() => (whole.value = true)}><${Icon} name="back" size="16" />${t("photoPutBack")}</button>
          ${[
            { icon: "photo", key: "photoAnother", go: () => photos.open() },
            { icon: "close", key: "photoAway", go: photos.letGo },
          ].map(
            ({ icon, key, go }) => html`<button type="button" class="plain" key=${key} aria-label=${t(key)} title=${t(key)} onClick=${go}>
              <${Icon} name=${icon} size="16" /><span>${t(key)}</span></button>`,
          )}
        </div>
      </div>
    </section>
  `;
}

/** Once on the page: the dialogs, and what is dropped or pasted anywhere. */
export function PhotoDialogs() {
  const over = useSignal(false);
  useEffect(() => {
    const isFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const heard = {
      dragover: (event) => {
        if (!isFiles(event)) return;
        event.preventDefault();
        over.value = true;
      },
      dragleave: (event) => {
        if (!event.relatedTarget) over.value = false;
      },
      drop: (event) => {
        over.value = false;
        if (!isFiles(event)) return;
        event.preventDefault();
        takeFrom(event.dataTransfer.files);
      },
      paste: (event) => {
        const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
        if (!files.length) return;
        event.preventDefault();
        takeFrom(files);
      },
    };
    for (const [kind, hear] of Object.entries(heard)) addEventListener(kind, hear);
    return () => {
      for (const [kind, hear] of Object.entries(heard)) removeEventListener(kind, hear);
    };
  }, []);
  return html`
    ${photos.choosing.value && html`<${Choosing} />`}
    ${whole.value && doc.value.photo && html`<${WholePhoto} />`}
    ${over.value && html`<div class="drop-over" aria-hidden="true"><p>${t("photoDropHere")}</p></div>`}
  `;
}

function takeFrom(files) {
  const [file] = files;
  if (file) photos.take(file, file.name.replace(/\.[^.]*$/, "").slice(0, 80));
}

const STEPS = { choose: Choose, camera: Camera, crop: Cut, invert: Inverting };

function Choosing() {
  const { step, problem } = photos.choosing.value;
  const Step = STEPS[step];
  return html`
    <${Dialog} title=${t("photo")} class=${`is-${step}`} onShut=${photos.shut}>
      <${Step} />
      <${Wrong} problem=${problem} />
    <//>
  `;
}

function Choose() {
  const field = useRef(null);
  return html`
    <div class="drop-here">
      <${Icon} name="photo" size="40" />
      <p>${t("photoDrop")}</p>
      <div class="photo-tools">
        <button type="button" class="main" onClick=${() => field.current.click()}>${t("photoChoose")}</button>
        ${navigator.mediaDevices &&
        html`<button type="button" class="plain" onClick=${() => photos.open("camera")}><${Icon} name="camera" size="16" />${t("photoCamera")}</button>`}
      </div>
      <input ref=${field} class="unseen" type="file" accept="image/*" tabindex="-1" aria-label=${t("photoChoose")}
        onChange=${(event) => takeFrom(event.target.files)} />
    </div>
    <p class="aside">${t("photoPrivate")}</p>
    ${kept.value.length > 0 &&
    html`<h3>${t("photosKept")}</h3>
      <ul class="kept">
        ${kept.value.map(
          (photo) => html`<li key=${photo.photo}>
            <button type="button" class="quiet" onClick=${() => photos.again(photo)}><bdi>${photo.name || t("photo")}</bdi></button>
            <${IconButton} icon="close" size="16" label=${t("photoEnd", { name: photo.name })} onClick=${() => photos.end(photo)} />
          </li>`,
        )}
      </ul>`}
  `;
}

/** What the camera sees, until one picture of it is taken. */
function Camera() {
  const video = useRef(null);
  const ready = useSignal(false);
  useEffect(() => {
    let stream = null;
    let gone = false;
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } }).then(
      (given) => {
        stream = given;
        if (gone) return stop();
        video.current.srcObject = given;
        return video.current.play();
      },
      () => photos.choosing.value && (photos.choosing.value = { ...photos.choosing.value, step: "choose", problem: { kind: "photoNoCamera" } }),
    );
    const stop = () => stream?.getTracks().forEach((track) => track.stop());
    return () => {
      gone = true;
      stop();
    };
  }, []);
  const shoot = () => {
    const { videoWidth: width, videoHeight: height } = video.current;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(video.current, 0, 0);
    canvas.toBlob((blob) => photos.take(blob, t("photoOfCamera")), "image/jpeg", 0.95);
  };
  return html`
    <video class="camera" ref=${video} muted playsinline aria-label=${t("photoCamera")} onPlaying=${() => (ready.value = true)}></video>
    <div class="photo-tools is-centred">
      <button type="button" class="main" disabled=${!ready.value} onClick=${shoot}><${Icon} name="camera" size="16" />${t("photoShoot")}</button>
      <button type="button" class="plain" onClick=${() => photos.open()}>${t("photoOther")}</button>
    </div>
  `;
}

function Cut() {
  const { held, align, face, kept } = photos.choosing.value;
  return html`
    <${Crop} />
    <div class="dialog-foot">
      <p class="aside">${t(held.faces.length ? "photoFaces" : "photoCut")}</p>
      <div class="faces" role="group" aria-label=${t("photoFacesName")}>
        ${held.faces.map(
          (one) => html`<button type="button" key=${one.face} class=${names("plain", align === "face" && face === one.face && "is-on")}
            aria-pressed=${align === "face" && face === one.face} onClick=${() => photos.takeFace(one.face)}>${t("photoFace", { face: one.face })}</button>`,
        )}
      </div>
      <label class="tick"><input type="checkbox" checked=${kept} onChange=${() => photos.wish(!kept)} />
        <span>${t("photoKeep")} <small>${t("photoKept")}</small></span></label>
      <button type="button" class="main" onClick=${photos.invert}>${t("photoTake")}</button>
    </div>
  `;
}

function Inverting() {
  const { held, align, face } = photos.choosing.value;
  return html`
    <div class="inverting">
      <${Part} held=${held} align=${align} face=${face} />
      <p>${t("photoInvertingSaid")}</p>
      <${Works} />
    </div>
  `;
}
