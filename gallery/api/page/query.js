// The query view: send a photo, and show a decision with its reason for each face.
import * as boxes from "./boxes.js";
import { $, button, element, handler, percent, plural, row, sentence, showStatus, withPercent } from "./elements.js";
import { enrol } from "./enroll.js";
import { callIfOpen, postForm, thumbnail } from "./http.js";

let current = null; // the photo queried last

function title(decision) {
  if (decision.outcome === "match") return `${decision.identity.name} (${percent(decision.probability)})`;
  if (decision.outcome === "unknown") return "No match";
  if (decision.outcome === "no_face") return "No face found";
  if (decision.outcome === "ambiguous") {
    const names = decision.candidates.filter((c) => c.verdict === "same").map((c) => c.identity.name);
    return `Ambiguous, ${names.length} people match: ${names.join(", ")}`;
  }
  return decision.outcome.replaceAll("_", " ");
}

function showUpload(share) {
  $("sent").hidden = share === null;
  $("sent").value = share ?? 0;
  if (share === 1) showStatus("Searching ...");
}

export async function query(file) {
  if (!file) return;
  current = file;
  $("shown").hidden = true;
  showStatus("Uploading ...");
  const form = new FormData();
  form.append("photo", file, file.name || "pasted");
  try {
    const { answers } = await postForm("/v1/query?all_faces=true", form, showUpload);
    if (current !== file) return;
    if ($("photo").src) URL.revokeObjectURL($("photo").src);
    $("photo").src = URL.createObjectURL(file);
    $("photo").hidden = false;
    await $("photo").decode().catch(() => ($("photo").hidden = true)); // e.g. HEIC
    if (current !== file) return;
    show(file, answers);
  } finally {
    showUpload(null);
  }
}

function show(file, decisions) {
  const faces = decisions.filter((decision) => decision.face);
  boxes.clear();
  const cards = decisions.map((decision, i) => card(file, decision, i + 1, faces.length));
  decisions.forEach((decision, i) => decision.face && boxes.draw(decision, i + 1, faces.length > 1, cards[i]));
  $("answers").replaceChildren(...cards);
  $("shown").classList.toggle("several", faces.length > 1);
  showWhole(faces);
  $("shown").hidden = false;
  $("begin").hidden ||= decisions.some((decision) => decision.candidates.length);
  showStatus(summary(decisions, faces));
}

// What the answers mean for the photo as a whole.
function showWhole(faces) {
  const rate = faces[0]?.photo_false_positive_identification_rate ?? null;
  $("whole").hidden = faces.length < 2 || rate === null;
  $("whole").textContent = $("whole").hidden ? "" : `If all ${faces.length} were strangers, somebody would be named in about ${percent(rate)} of such photos.`;
}

function card(file, decision, place, faces) {
  const item = element("li");
  const number = faces > 1 ? `${place}. ` : "";
  const explanation = decision.candidates.length ? [why(decision)] : [];
  const showEnrolment = ({ outcome, identity, message, warning, buttons }) => {
    const warnings = warning ? [Object.assign(element("p", warning), { className: "warn" })] : [];
    const state = outcome === "already" ? "already enrolled" : "enrolled";
    item.className = "match";
    boxes.mark(place, "match");
    item.replaceChildren(element("h2", `${number}${identity.name}, ${state}`), element("p", message), ...warnings, row(...buttons));
    showHint();
  };
  const showDecision = () => {
    item.className = decision.outcome;
    boxes.mark(place, decision.outcome);
    const reason = decision.outcome === "ambiguous" ? [] : [element("p", sentence(withPercent(decision.reason)))]; // else in the title
    item.replaceChildren(element("h2", number + title(decision)), ...reason, ...explanation);
    if (!decision.face || (faces > 1 && $("photo").hidden)) return;
    const update = (enrolment) => (enrolment ? showEnrolment(enrolment) : showDecision());
    const enrolFace = () => enrol(file, decision, place, faces === 1, update);
    item.append(row(button("Enrol this face", `Enrol face ${place} of this photo`, enrolFace, decision.outcome === "match")));
  };
  showDecision();
  return item;
}

function summary(decisions, faces) {
  if (!faces.length) return sentence(decisions[0].reason);
  const unknown = faces.filter((decision) => decision.outcome === "unknown").length;
  const parts = faces.filter((decision) => decision.outcome !== "unknown").map(title);
  if (unknown) parts.push(unknown === faces.length ? "no match" : `${unknown} without a match`);
  return `${plural(faces.length, "face")}: ${parts.join("; ")}.`;
}

// The deciding faces and the runner-up.
function why(decision) {
  const matches = decision.candidates.filter((c) => c.verdict === "same");
  const others = decision.candidates.filter((c) => c.verdict !== "same");
  const candidates = matches.length ? [...matches, ...others.slice(0, 1)] : others.slice(0, 2);
  const list = Object.assign(element("ul"), { className: "faces" });
  const candidateItem = async (candidate) => {
    const verdict = candidate.verdict === "same" ? "match" : "no match";
    const text = `${candidate.identity.name}: ${verdict} (${percent(candidate.probability)}, cosine ${candidate.similarity.toFixed(2)})`;
    return element("li", "", await thumbnail(candidate, `Enrolled face of ${candidate.identity.name}`), element("span", text));
  };
  const rate = decision.false_positive_identification_rate;
  const note = rate === null ? "" : `About ${percent(rate)} of strangers get a match.`;
  const details = element("details", "", element("summary", "Why"), list, element("p", note));
  details.addEventListener("toggle", handler(async () => {
    if (details.open && !list.children.length) list.replaceChildren(...(await Promise.all(candidates.map(candidateItem))));
  }));
  details.open = matches.length > 0;
  return details;
}

// The hint on how to start, shown while no one is enrolled.
export async function showHint() {
  const calibration = await callIfOpen("/v1/calibration");
  $("begin").hidden = calibration?.identities !== 0;
}

// With the browser's camera API if there is one, else with the system's camera dialog.
async function takePhoto() {
  if (!navigator.mediaDevices?.getUserMedia) return $("capture").click();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
  } catch {
    throw new Error("No camera found, or this page is not allowed to use it.");
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
  showHint();
  for (const id of ["file", "capture"]) {
    $(id).addEventListener("change", handler(async () => {
      const [file] = $(id).files;
      $(id).value = ""; // so that the same photo can be chosen again
      await query(file);
    }));
  }
  $("camera").addEventListener("click", handler(takePhoto));
  for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, handler(async (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", type === "dragover");
      if (type === "drop") await query(event.dataTransfer.files[0]);
    }));
  }
  document.addEventListener("paste", handler((event) => query(event.clipboardData.files[0])));
}
