// Enrol a face of the photo that was asked about, and take that back.
import { ask, checkedName } from "./dialog.js";
import { $, button, plain, say, sentence } from "./parts.js";
import { eraseFace } from "./people.js";
import { send } from "./talk.js";

const MARGIN = 0.5; // of a face's box, around what is cut out of a photo of several
const KEPT = "The face is kept as numbers, and as a small picture where the gallery keeps those; the photo is not kept.";

// photo: what was asked about; alone: whether it has this one face. changed(enrolment): what is to be
// shown after it; null when it was taken back.
export async function enrol(photo, answer, place, alone, changed) {
  const known = answer.outcome === "match" ? answer.identity.name : "";
  const [face, source] = await faceOf(photo, answer, place, alone);
  const post = async (name, force) => {
    const form = new FormData();
    form.append("name", name);
    form.append("photo", face, source);
    const { enrolments } = await send(`/v1/identities?largest=true${force ? "&force=true" : ""}`, form);
    return { name, ...enrolments[0] };
  };
  let done = await ask(`Who is this? ${KEPT}`, "Enrol", { entry: known, act: (name) => post(checkedName(name), false) });
  if (done?.refusal === "matches_another") {
    const { name } = done;
    const rivals = done.rivals.map((rival) => rival.name).join(", ");
    done = await ask(`This face is refused: it matches ${rivals}. Enrol it as ${name} all the same?`, "Enrol all the same", { act: () => post(name, true) });
  }
  if (done) told(done, changed);
}

function told(done, changed) {
  if (done.outcome === "refused" || done.outcome === "error") {
    return say(`Not enrolled: ${plain(done.reason)}.`, { kind: "bad" });
  }
  const [reason, warning] = plain(done.reason).split(/; warning: (.*)/s);
  done = { ...done, said: sentence(reason), warning: warning ? sentence(warning) : "" };
  const back = done.outcome === "enrolled" ? [eraseAgain(done, changed)] : [];
  changed({ ...done, back });
  if (warning) say(`${done.said} But look again: ${warning}.`, { kind: "warn", offers: back.length ? [eraseAgain(done, changed)] : [] });
  else say(done.said);
}

function eraseAgain({ face_id: id, identity }, changed) {
  return button("Erase this face again", `Erase this face of ${identity.name} again`, () => eraseFace(id, identity, () => changed(null)));
}

// The whole photo where it has one face; else what is around this one.
async function faceOf(photo, answer, place, alone) {
  const name = photo.name || "pasted";
  if (alone) return [photo, name];
  const [left, top, right, bottom] = answer.face.box;
  const x = Math.max(0, left - MARGIN * (right - left));
  const y = Math.max(0, top - MARGIN * (bottom - top));
  const width = Math.min($("photo").naturalWidth, right + MARGIN * (right - left)) - x;
  const height = Math.min($("photo").naturalHeight, bottom + MARGIN * (bottom - top)) - y;
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(width), height: Math.round(height) });
  canvas.getContext("2d").drawImage($("photo"), x, y, width, height, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return [blob, `${name} (face ${place})`];
}
