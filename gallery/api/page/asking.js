// Ask about a photo: send it, draw a box and the answer over each face, say why, enrol from it.
import { $, ask, button, counted, element, fileOf, guarded, percent, say } from "./parts.js";
import { picture, send } from "./talk.js";

const MARGIN = 0.5; // of a face's box, around what is cut out of a photo of several
let asked = null;

function title(answer) {
  if (answer.outcome === "match") return `${answer.identity.name} (${percent(answer.probability)})`;
  if (answer.outcome === "unknown") return "No one we know";
  if (answer.outcome === "no_face") return "No face";
  if (answer.outcome === "ambiguous") {
    const names = answer.candidates.filter((c) => c.verdict === "same").map((c) => c.identity.name);
    return `${counted(names.length, "person matches", "people match")}: ${names.join(", ")}`;
  }
  return answer.outcome.replaceAll("_", " ");
}

function sending(share) {
  $("sent").hidden = share === null;
  $("sent").value = share ?? 0;
  if (share === 1) say("Looking ...");
}

export async function query(file) {
  if (!file) return;
  asked = file;
  $("shown").hidden = true;
  say("Sending ...");
  const form = new FormData();
  form.append("photo", file, file.name || "pasted");
  try {
    const { answers } = await send("/v1/query?all_faces=true", form, sending);
    if (asked !== file) return;
    if ($("photo").src) URL.revokeObjectURL($("photo").src);
    $("photo").src = URL.createObjectURL(file);
    $("photo").hidden = false;
    await $("photo").decode().catch(() => ($("photo").hidden = true)); // a browser may not know HEIC
    await show(answers);
  } finally {
    sending(null);
  }
}

async function show(answers) {
  const faces = answers.filter((answer) => answer.face);
  $("boxes").replaceChildren();
  $("answers").replaceChildren();
  for (const [place, answer] of answers.entries()) {
    const number = faces.length > 1 ? `${place + 1}. ` : "";
    const item = element("li", "", element("h2", number + title(answer)), element("p", answer.reason));
    item.className = answer.outcome;
    $("answers").append(item);
    if (!answer.face) continue;
    drawBox(answer, number, place + 1);
    if (answer.candidates.length) item.append(await why(answer));
    const enrolThis = () => enrol(answer, place + 1, faces.length);
    if (faces.length === 1 || !$("photo").hidden) {
      item.append(button("Enrol this face", `Enrol face ${place + 1} of this photo`, enrolThis, answer.outcome === "match"));
    }
  }
  $("shown").hidden = false;
  say(summary(answers, faces));
}

function summary(answers, faces) {
  if (!faces.length) return `${answers[0].reason}.`.replace(/^./, (first) => first.toUpperCase());
  const unknown = faces.filter((answer) => answer.outcome === "unknown");
  const named = faces.filter((answer) => answer.outcome !== "unknown").map(title);
  const rest = unknown.length ? [unknown.length === faces.length && faces.length > 1 ? "none of someone we know" : unknown.length === 1 ? "no one we know" : `${unknown.length} of no one we know`] : [];
  return `${counted(faces.length, "face")}: ${[...named, ...rest].join("; ")}.`;
}

function drawBox(answer, number, place) {
  const { naturalWidth: width, naturalHeight: height, hidden } = $("photo");
  if (hidden || !width) return;
  const [left, top, right, bottom] = answer.face.box;
  const label = number && answer.outcome !== "match" ? String(place) : number + title(answer);
  const box = element("div", "", element("b", label));
  box.className = `box ${answer.outcome}${left + right > width ? " right" : ""}`;
  box.style.left = `${(100 * left) / width}%`;
  box.style.top = `${(100 * top) / height}%`;
  box.style.width = `${(100 * (right - left)) / width}%`;
  box.style.height = `${(100 * (bottom - top)) / height}%`;
  $("boxes").append(box);
}

// The enrolled photos that decided, and the nearest that did not.
async function why(answer) {
  const same = answer.candidates.filter((c) => c.verdict === "same");
  const told = same.length ? [...same, ...answer.candidates.filter((c) => c.verdict !== "same").slice(0, 1)] : answer.candidates.slice(0, 2);
  const list = element("ul");
  list.className = "faces";
  for (const one of told) {
    const matches = one.verdict === "same" ? "matches" : "does not match";
    const said = `${one.identity.name} ${matches}: ${percent(one.probability)}, cosine ${one.similarity.toFixed(2)}`;
    const shown = await picture(one.face_id, `Enrolled face of ${one.identity.name}`);
    list.append(element("li", "", shown, element("span", `${said} (${fileOf(one.photo)})`)));
  }
  const rate = answer.false_positive_identification_rate;
  const promise = rate === null ? "" : `At most ${percent(rate)} of strangers are given a name here.`;
  const details = element("details", "", element("summary", "Why"), list, element("p", promise));
  details.open = same.length > 0;
  return details;
}

// The whole photo where it has one face; else what is around this one.
async function faceOf(answer, place, faces) {
  const name = asked.name || "pasted";
  if (faces === 1) return [asked, name];
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

async function enrol(answer, place, faces) {
  const known = answer.outcome === "match" ? answer.identity.name : "";
  const name = await ask("Who is this? The face is kept as numbers, the photo is not.", "Enrol", { entry: known });
  if (!name) return;
  const [photo, source] = await faceOf(answer, place, faces);
  const post = (force) => {
    const form = new FormData();
    form.append("name", name);
    form.append("photo", photo, source);
    return send(`/v1/identities?largest=true${force ? "&force=true" : ""}`, form, sending);
  };
  try {
    let [result] = (await post(false)).enrolments;
    if (result.refusal === "matches_another") {
      const rivals = result.rivals.map((one) => one.name).join(", ");
      if (!(await ask(`This face is refused: it matches ${rivals}. Enrol it as ${name} all the same?`, "Enrol"))) return;
      [result] = (await post(true)).enrolments;
    }
    say(`${name}: ${result.reason}.`, { bad: result.outcome === "refused" || result.outcome === "error" });
  } finally {
    sending(null);
  }
}

// A camera where the browser gives one; else the system's own way of taking a photo.
async function takePhoto() {
  if (!navigator.mediaDevices?.getUserMedia) return $("capture").click();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
  } catch {
    throw new Error("There is no camera here, or this page may not use it.");
  }
  $("video").srcObject = stream;
  $("booth").returnValue = "no";
  $("booth").showModal();
  await new Promise((resolve) => $("booth").addEventListener("close", resolve, { once: true }));
  const { videoWidth: width, videoHeight: height } = $("video");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  if (width) canvas.getContext("2d").drawImage($("video"), 0, 0);
  stream.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
  if ($("booth").returnValue !== "yes" || !width) return;
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  await query(new File([blob], "camera.jpg", { type: "image/jpeg" }));
}

export function start() {
  for (const id of ["file", "capture"]) {
    $(id).addEventListener("change", guarded(async () => {
      const [file] = $(id).files;
      $(id).value = ""; // so that the same photo can be chosen again
      await query(file);
    }));
  }
  $("camera").addEventListener("click", guarded(takePhoto));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, guarded(async (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") await query(event.dataTransfer.files[0]);
    }));
  }
  document.addEventListener("paste", guarded((event) => query(event.clipboardData.files[0])));
}
