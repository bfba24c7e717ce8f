// The duplicates view: a dedupe job on the server, then its findings side by side, to be decided.
import { $, baseName, button, element, handler, percent, plural, row, showStatus } from "./elements.js";
import { callApi, thumbnail } from "./http.js";
import { eraseFace, merge } from "./identities.js";

const POLL_INTERVAL = 400; // milliseconds
let job = null;

async function run() {
  for (const id of ["pairs", "twice", "doubted"]) $(id).replaceChildren();
  $("compared").hidden = $("stop").hidden = false;
  showStatus("Comparing all faces ...");
  try {
    job = await callApi("/v1/dedupe", { method: "POST" });
    while (job.state === "queued" || job.state === "running") {
      $("compared").value = job.total ? job.done / job.total : 0;
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
      job = await callApi(`/v1/jobs/${job.id}`);
    }
  } finally {
    $("compared").hidden = $("stop").hidden = true;
  }
  if (job.state === "failed") throw new Error(job.error);
  if (job.state === "cancelled") return showStatus("Stopped.");
  await show();
  showStatus(summary(job.result));
}

function summary(result) {
  const { same_people: { length: pairs }, misfiled: { length: mislabelled }, identities } = result;
  const faces = duplicateFaces(result).length;
  const findings = [];
  if (pairs) findings.push(plural(pairs, "possible duplicate person", "possible duplicate people"));
  if (faces) findings.push(plural(faces, "duplicate face"));
  if (mislabelled) findings.push(plural(mislabelled, "possibly mislabelled face"));
  const found = findings.length ? findings.join(", ") : "no duplicates or mislabelled faces found";
  return `${plural(identities, "person", "people")} compared: ${found}.`;
}

async function refresh() {
  if (!job) return;
  job = await callApi(`/v1/jobs/${job.id}`);
  await show();
}

async function show() {
  const { same_people: pairs, misfiled } = job.result;
  $("pairs").replaceChildren(...(await Promise.all(pairs.map(pairItem))));
  $("twice").replaceChildren(...(await Promise.all(duplicateFaces(job.result).map(duplicateFaceItem))));
  $("doubted").replaceChildren(...(await Promise.all(misfiled.map(mislabelledItem))));
}

// Without faces of two identities that are listed as a pair anyway.
function duplicateFaces({ same_people: pairs, same_faces: faces }) {
  const listed = new Set(pairs.map(({ identities }) => key(identities)));
  return faces.filter((pair) => !listed.has(key(pair.faces.map((face) => face.identity))));
}

function key(identities) {
  return identities.map((identity) => identity.id).sort().join();
}

async function side(identity, face, ...buttons) {
  const faces = identity.faces ? [element("p", plural(identity.faces, "face"))] : [];
  return element("div", "", await thumbnail(face, `Enrolled face of ${identity.name}`), element("h2", identity.name), ...faces, ...buttons);
}

function sideBySide(...sides) {
  return Object.assign(element("div", "", ...sides), { className: "beside" });
}

// A change that can be undone: both requests refresh the view and report what was done.
async function change(path, message, undo) {
  await callApi(path, { method: "PUT" });
  await refresh();
  const undoChange = async () => {
    await callApi(undo.path, { method: undo.method });
    showStatus(undo.message);
    await refresh();
  };
  showStatus(message, { buttons: [button("Undo", "Undo this decision", undoChange)] });
}

async function pairItem({ identities: [first, second], probability, deciding }) {
  const faces = sideBySide(await side(first, deciding[0]), await side(second, deciding[1]));
  const mergeAs = (kept, other) => async () => {
    await merge(kept, other, refresh);
    await refresh();
  };
  const path = `/v1/identities/${first.id}/distinct/${second.id}`;
  const undo = { path, method: "DELETE", message: "Decision undone." };
  const names = `${first.name} and ${second.name}`;
  const separate = () => change(path, `${names} marked as different people.`, undo);
  return element("li", "", element("p", `Same person? ${percent(probability)}`), faces, row(
    button(`Same: keep ${first.name}`, `${names} are the same person, named ${first.name}`, mergeAs(first, second), false),
    button(`Same: keep ${second.name}`, `${names} are the same person, named ${second.name}`, mergeAs(second, first), false),
    button("Different people", `${names} are different people`, separate)));
}

async function mislabelledItem({ face, suggested, probability, nearest, why }) {
  const owner = face.identity;
  const file = baseName(face.photo);
  const faces = sideBySide(await side(owner, face), await side(nearest.identity, nearest));
  const path = `/v1/faces/${face.face_id}`;
  const move = () => change(`${path}/identity/${suggested.id}`, `${file} moved to ${suggested.name}.`,
    { path: `${path}/identity/${owner.id}`, method: "PUT", message: `${file} moved back to ${owner.name}.` });
  const confirm = () => change(`${path}/right`, `${file} confirmed as ${owner.name}.`,
    { path: `${path}/right`, method: "DELETE", message: "Decision undone." });
  const moves = suggested ? [button(`It is ${suggested.name}`, `Move ${file} to ${suggested.name}`, move, false)] : [];
  return element("li", "", element("p", `Mislabelled? ${percent(probability)}: ${why}.`), faces, row(
    ...moves,
    button(`It is ${owner.name}`, `${file} is ${owner.name}`, confirm, false),
    button("Erase this face", `Erase the face ${file} of ${owner.name}`, () => eraseFace(face.face_id, owner, refresh))));
}

async function duplicateFaceItem({ faces, similarity }) {
  const sides = faces.map((face) => {
    const label = `Erase the face ${baseName(face.photo)} of ${face.identity.name}`;
    return side(face.identity, face, button("Erase this face", label, () => eraseFace(face.face_id, face.identity, refresh)));
  });
  return element("li", "", element("p", `Same picture enrolled twice (cosine ${similarity.toFixed(3)})`), sideBySide(...(await Promise.all(sides))));
}

export function start() {
  $("look").addEventListener("click", handler(run));
  $("stop").addEventListener("click", handler(async () => {
    if (job) await callApi(`/v1/jobs/${job.id}/cancel`, { method: "POST" });
  }));
}
