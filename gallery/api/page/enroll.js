// Enrol a face of the queried photo, and undo that.
import { ask, validName } from "./dialog.js";
import { $, button, sentence, showStatus, withPercent } from "./elements.js";
import { eraseFace } from "./identities.js";
import { callApi, postForm } from "./http.js";

const MARGIN = 0.5; // around a face cut out of a group photo, in box sizes
const PRIVACY = "The gallery stores the face as numbers, and a thumbnail if thumbnails are on, but not the photo.";

// isOnlyFace: whether the photo has no other face. update(enrolment): shows the enrolment; null once
// it is undone.
export async function enrol(photo, decision, place, isOnlyFace, update) {
  const knownName = decision.outcome === "match" ? decision.identity.name : "";
  const [file, fileName] = await facePhoto(photo, decision, place, isOnlyFace);
  const post = async (name, { isNew = false, distinct = false } = {}) => {
    const form = new FormData();
    form.append("name", name);
    form.append("photo", file, fileName);
    const { enrolments } = await postForm(`/v1/identities?largest=true&new=${isNew}&distinct=${distinct}`, form);
    return { name, isNew, ...enrolments[0] };
  };
  const postUnlessNear = async (name) => {
    const near = await namesNear(validName(name));
    return near.length && !near.includes(name.normalize("NFC")) ? { name, near } : post(name);
  };
  let enrolment = await ask(`Who is this? ${PRIVACY}`, "Enrol", { entry: knownName, act: postUnlessNear });
  if (enrolment?.near) {
    const choice = await whoIsMeant(enrolment.name, enrolment.near);
    enrolment = choice && (await post(choice.name, choice));
  }
  if (enrolment?.refusal === "matches_another") {
    const { name, isNew } = enrolment;
    const rivals = enrolment.rivals.map((rival) => rival.name).join(", ");
    enrolment = await ask(`This face matches ${rivals}. Is ${name} somebody else?`, "Yes, enrol", { act: () => post(name, { isNew, distinct: true }) });
  }
  if (enrolment) showEnrolment(enrolment, update);
}

// Names of enrolled people that differ from this one in case, accents or spacing at most.
async function namesNear(name) {
  const { identities } = await callApi(`/v1/identities?near=${encodeURIComponent(name)}`);
  return identities.map((identity) => identity.name);
}

function whoIsMeant(name, [first, ...others]) {
  const question = others.length ? `${[first, ...others].join(" and ")} are there already: which of them?` : `${first} is there already: the same person?`;
  const choices = others.map((other) => [`Enrol as ${other}`, { name: other }]);
  choices.push(["Another person", { name, isNew: true }]);
  return ask(question, `Enrol as ${first}`, { choices, act: () => ({ name: first }) });
}

function showEnrolment(enrolment, update) {
  if (enrolment.outcome === "refused" || enrolment.outcome === "error") {
    return showStatus(`Not enrolled: ${withPercent(enrolment.reason)}.`, { kind: "bad" });
  }
  const [reason, ...warnings] = withPercent(enrolment.reason).split("; warning: ");
  const message = sentence(reason);
  const undo = () => (enrolment.outcome === "enrolled" ? [undoButton(enrolment, update)] : []);
  update({ ...enrolment, message, warning: warnings.map(sentence).join(" "), buttons: undo() });
  if (warnings.length) showStatus(`${message} Please check: ${warnings.join("; ")}.`, { kind: "warn", buttons: undo() });
  else showStatus(message);
}

function undoButton({ face_id: id, identity }, update) {
  return button("Erase this face", `Erase this face of ${identity.name}`, () => eraseFace(id, identity, () => update(null)));
}

// The whole photo if this is its only face, else the part around the face.
async function facePhoto(photo, decision, place, isOnlyFace) {
  const name = photo.name || "pasted";
  if (isOnlyFace) return [photo, name];
  const [left, top, right, bottom] = decision.face.box;
  const x = Math.max(0, left - MARGIN * (right - left));
  const y = Math.max(0, top - MARGIN * (bottom - top));
  const width = Math.min($("photo").naturalWidth, right + MARGIN * (right - left)) - x;
  const height = Math.min($("photo").naturalHeight, bottom + MARGIN * (bottom - top)) - y;
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width), height: Math.round(height) });
  canvas.getContext("2d").drawImage($("photo"), x, y, width, height, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return [blob, `${name} (face ${place})`];
}
