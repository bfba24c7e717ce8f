// The accuracy view: the expected error rates, in words and as a curve.
import { $, element, percent, plural } from "./elements.js";
import { callApi } from "./http.js";

const [LEFT, TOP, RIGHT, BOTTOM] = [84, 16, 624, 264];
const SMALL_GALLERY = 10; // people

function svg(tag, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

function drawCurve({ expected, identities }) {
  const largest = expected.at(-1).identities;
  const x = (count) => LEFT + (Math.log10(Math.max(1, count)) / Math.log10(largest)) * (RIGHT - LEFT);
  const y = (share) => BOTTOM - share * (BOTTOM - TOP);
  const nodes = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    nodes.push(svg("line", { x1: LEFT, x2: RIGHT, y1: y(share), y2: y(share), class: "grid" }));
    nodes.push(svg("text", { x: LEFT - 8, y: y(share) + 5, class: "end" }, `${100 * share}%`));
  }
  for (const count of [1, 10, 100, 1000]) {
    if (count <= largest) nodes.push(svg("text", { x: x(count), y: BOTTOM + 26, class: "middle" }, String(count)));
  }
  nodes.push(svg("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 54, class: "middle" }, "people enrolled"));
  const points = expected.map((point) => `${x(point.identities)},${y(point.known_found)}`).join(" ");
  nodes.push(svg("polyline", { points, class: "line" }));
  if (identities) {
    const here = expected.find((point) => point.identities === identities);
    const [cx, cy] = [x(here.identities), y(here.known_found)];
    const isRight = cx > RIGHT - 120;
    nodes.push(svg("circle", { cx, cy, r: 6, class: "here" }));
    nodes.push(svg("text", { x: cx + (isRight ? -10 : 10), y: cy + 40, class: isRight ? "end" : "" }, `yours: ${percent(here.known_found)}`));
  }
  $("curve").replaceChildren(...nodes);
}

function calibrationTable(calibration) {
  if (!calibration) {
    return [element("p", "Not calibrated on strangers of your own. To do so: ", element("code", "gallery calibrate --strangers FOLDER"))];
  }
  const { before, after, strangers } = calibration.report;
  const caption = `Calibration ${calibration.version} of ${calibration.created_at.slice(0, 10)}, with ${plural(strangers.photos, "photo")} of strangers`;
  const table = element("table", "", element("caption", caption));
  const tableRow = (tag, cells) => element("tr", "", ...cells.map((cell) => element(tag, cell)));
  table.append(tableRow("th", ["", "strangers matched", "known people found"]));
  const share = (value) => (value === undefined ? "\u2013" : percent(value));
  for (const [label, rates] of [["before", before], ["after", after]]) {
    if (rates) table.append(tableRow("td", [label, share(rates.strangers_named), share(rates.known_found)]));
  }
  return [table];
}

export async function show() {
  const calibration = await callApi("/v1/calibration");
  const rate = percent(calibration.false_positive_identification_rate);
  const found = percent(calibration.known_found);
  const caveat = calibration.identities < SMALL_GALLERY
    ? "These rates were measured on other people's photos, and are only a rough guide for a gallery this small."
    : "The more people are enrolled, the stricter each decision becomes.";
  $("words").textContent = calibration.identities
    ? `With ${plural(calibration.identities, "person", "people")} enrolled, about ${rate} of strangers get a match, and about ${found} of known people are found. ${caveat}`
    : `No one is enrolled yet. From the first person on, about ${rate} of strangers get a match. The more people are enrolled, the stricter each decision becomes.`;
  drawCurve(calibration);
  $("calibrated").replaceChildren(...calibrationTable(calibration.calibration));
}
