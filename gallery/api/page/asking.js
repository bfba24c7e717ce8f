// Ask about a photo: send it, show an answer for each face, say why.
import * as boxes from "./boxes.js";
import { enrol } from "./enrolling.js";
import { $, button, counted, element, guarded, percent, plain, row, say, sentence } from "./parts.js";
import { glance, picture, send } from "./talk.js";

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
    if (asked !== file) return;
    show(file, answers);
  } finally {
    sending(null);
  }
}

function show(file, answers) {
  const faces = answers.filter((answer) => answer.face);
  boxes.clear();
  const cards = answers.map((answer, i) => card(file, answer, i + 1, faces.length));
  answers.forEach((answer, i) => answer.face && boxes.draw(answer, i + 1, faces.length > 1, cards[i]));
  $("answers").replaceChildren(...cards);
  $("shown").classList.toggle("several", faces.length > 1);
  $("shown").hidden = false;
  $("begin").hidden ||= answers.some((answer) => answer.candidates.length);
  say(summary(answers, faces));
}

function card(file, answer, place, faces) {
  const item = element("li");
  const number = faces > 1 ? `${place}. ` : "";
  const shown = answer.candidates.length ? [why(answer)] : [];
  const enrolled = ({ outcome, identity, said, warning, back }) => {
    const warned = warning ? [Object.assign(element("p", warning), { className: "warn" })] : [];
    item.className = "match";
    boxes.mark(place, "match");
    item.replaceChildren(element("h2", `${number}${identity.name}, ${outcome === "already" ? "enrolled already" : "enrolled now"}`), element("p", said), ...warned, row(...back));
    begin();
  };
  const asking = () => {
    item.className = answer.outcome;
    boxes.mark(place, answer.outcome);
    const reason = answer.outcome === "ambiguous" ? [] : [element("p", sentence(plain(answer.reason)))]; // its title says it
    item.replaceChildren(element("h2", number + title(answer)), ...reason, ...shown);
    if (!answer.face || (faces > 1 && $("photo").hidden)) return;
    const changed = (done) => (done ? enrolled(done) : asking());
    const enrolThis = () => enrol(file, answer, place, faces === 1, changed);
    item.append(row(button("Enrol this face", `Enrol face ${place} of this photo`, enrolThis, answer.outcome === "match")));
  };
  asking();
  return item;
}

function summary(answers, faces) {
  if (!faces.length) return sentence(answers[0].reason);
  const unknown = faces.filter((answer) => answer.outcome === "unknown");
  const named = faces.filter((answer) => answer.outcome !== "unknown").map(title);
  const rest = unknown.length ? [unknown.length === faces.length && faces.length > 1 ? "none of someone we know" : unknown.length === 1 ? "no one we know" : `${unknown.length} of no one we know`] : [];
  return `${counted(faces.length, "face")}: ${[...named, ...rest].join("; ")}.`;
}

// The enrolled photos that decided, and the nearest that did not.
function why(answer) {
  const same = answer.candidates.filter((c) => c.verdict === "same");
  const told = same.length ? [...same, ...answer.candidates.filter((c) => c.verdict !== "same").slice(0, 1)] : answer.candidates.slice(0, 2);
  const list = Object.assign(element("ul"), { className: "faces" });
  const one = async (candidate) => {
    const matches = candidate.verdict === "same" ? "matches" : "does not match";
    const said = `${candidate.identity.name} ${matches}: ${percent(candidate.probability)}, cosine ${candidate.similarity.toFixed(2)}`;
    return element("li", "", await picture(candidate, `Enrolled face of ${candidate.identity.name}`), element("span", said));
  };
  const rate = answer.false_positive_identification_rate;
  const promise = rate === null ? "" : `At most ${percent(rate)} of strangers are given a name here.`;
  const details = element("details", "", element("summary", "Why"), list, element("p", promise));
  details.addEventListener("toggle", guarded(async () => {
    if (details.open && !list.children.length) list.replaceChildren(...(await Promise.all(told.map(one))));
  }));
  details.open = same.length > 0;
  return details;
}

// How to begin, while nobody is enrolled.
export async function begin() {
  const told = await glance("/v1/calibration");
  $("begin").hidden = told?.identities !== 0;
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
  begin();
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
