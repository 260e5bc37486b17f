"use strict";
const all = JSON.parse(document.getElementById("data").textContent);
const chosenCase = document.getElementById("case");
const sort = document.getElementById("sort");
const least = document.getElementById("least");
const AT_ONCE = 60;
let shown = [];
let drawn = 0;

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

for (const name of [...new Set(all.map((mask) => mask.case))].sort()) {
  const option = element("option", name);
  option.value = name;
  chosenCase.append(option);
}

function card(mask) {
  const figure = element("figure");
  figure.className = "panel";
  const picture = element("img");
  picture.src = mask.picture;
  picture.alt = `Mask of ${mask.called}, as given and as suggested`;
  const caption = element("figcaption");
  caption.append(
    element("b", `suspicion ${mask.suspicion.toFixed(2)}`),
    ` · ${mask.called} · ${mask.changed} pixels differ`,
  );
  figure.append(picture, caption);
  return figure;
}

function more() {
  const target = document.getElementById("masks");
  target.append(...shown.slice(drawn, drawn + AT_ONCE).map(card));
  drawn = Math.min(shown.length, drawn + AT_ONCE);
}

function show() {
  const order = { suspicion: (a, b) => b.suspicion - a.suspicion,
    changed: (a, b) => b.changed - a.changed, index: (a, b) => a.index - b.index };
  const limit = Number(least.value);
  shown = all.filter((mask) => mask.suspicion >= limit
    && (chosenCase.value === "" || mask.case === chosenCase.value));
  shown.sort(order[sort.value]);
  drawn = 0;
  document.getElementById("masks").replaceChildren();
  document.getElementById("least-value").textContent = limit.toFixed(2);
  document.getElementById("count").textContent = `${shown.length} of ${all.length} masks`;
  more();
}

for (const input of [chosenCase, sort, least]) input.addEventListener("input", show);
window.addEventListener("scroll", () => {
  const left = document.body.scrollHeight - window.innerHeight - window.scrollY;
  if (left < 800 && drawn < shown.length) more();
});
show();
