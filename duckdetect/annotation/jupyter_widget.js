// The page of the drawing widget: boxes on one image, the classes above it, the buttons below it.
// Python shows images (image_bytes, bboxes, page) and saves what `bboxes` becomes; see jupyter_widget.py.

const SVG = "http://www.w3.org/2000/svg";
const GRAB = 9; // pixels of the screen around an edge in which it is taken hold of
const HANDLE = 11; // pixels of the screen that a corner's handle is wide
const SMALLEST = 3; // a shaky click moves the mouse by a pixel or two

function make(tag, className, parent, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function shape(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function render({ model, el }) {
  const root = make("div", "dd-draw", el);
  root.tabIndex = 0;
  // JupyterLab's single-key commands (digits make headings) stay away from what has the focus here.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  const head = make("div", "dd-head", root);
  const classRow = make("div", "dd-row", root);
  const renameRow = make("div", "dd-row", root);
  const stage = make("div", "dd-stage", root);
  const image = make("img", "", stage);
  image.alt = "The picture to draw boxes on";
  const svg = document.createElementNS(SVG, "svg");
  stage.append(svg);
  const sliderRow = make("label", "dd-row", root);
  const slider = make("input", "", sliderRow);
  Object.assign(slider, { type: "range", min: 0.05, max: 0.95, step: 0.05 });
  const sliderText = make("span", "", sliderRow);
  slider.addEventListener("input", () => {
    model.set("least", Number(slider.value));
    model.save_changes();
    selected = -1;
    draw();
  });
  // JupyterLab takes the arrow keys otherwise, with which the slider is moved.
  slider.addEventListener("keydown", event => event.stopPropagation());
  const bar = make("div", "dd-row", root);
  const note = make("div", "dd-note", root);
  note.setAttribute("role", "status");

  let boxes = []; // as in the model
  let selected = -1;
  let picked = false; // whether it was clicked on: one that has just been drawn is not
  let current = 0; // the class of new boxes
  let past = []; // what undo brings back
  let drag = null;
  let address = "";

  const classes = () => model.get("classes");
  const color = label => model.get("colors")[Math.max(0, classes().indexOf(label))] ?? "#ff268e";
  const copied = list => list.map(box => ({ ...box }));
  // What a detector suggests is dashed until somebody accepts or changes it.
  const hidden = box => box.score != null && box.score < model.get("least");
  const send = (type, values = []) => model.send({ type, values });

  const buttons = {};
  const addButton = (name, hint, press, className = "") => {
    const button = make("button", className, bar, name);
    button.type = "button";
    button.title = hint;
    button.addEventListener("click", () => { press(); root.focus({ preventScroll: true }); });
    buttons[name] = button;
    return button;
  };
  addButton("Previous", "Back to the picture before (P)", () => send("previous"));
  addButton("Next", "Everything is saved already, suggestions by this; on to the next picture (Enter)", () => send("next"), "dd-go");
  addButton("Skip", "On to the next picture without saving what is suggested (Space)", () => send("skip"));
  addButton("No object", "This picture holds none of the classes", () => send("no object"));
  make("span", "dd-gap", bar);
  addButton("Undo", "Take back the last change (Ctrl+Z)", undo);
  addButton("Copy last", "Copy the boxes of the picture shown before this one (C)", () => { remember(); send("copy"); });
  addButton("Delete", "Remove the selected box (Delete)", remove);

  function remember() {
    past.push(copied(boxes));
    if (past.length > 200) past.shift();
  }

  function store() {
    model.set("bboxes", copied(boxes));
    model.save_changes();
    draw();
  }

  function undo() {
    if (!past.length) return;
    boxes = past.pop();
    selected = -1;
    store();
  }

  function remove() {
    if (selected < 0) return;
    remember();
    boxes.splice(selected, 1);
    selected = -1;
    store();
  }

  function choose(index) {
    if (index < 0 || index >= classes().length) return;
    current = index;
    if (selected >= 0 && boxes[selected].label !== classes()[index]) {
      remember();
      boxes[selected].label = classes()[index];
      boxes[selected].score = null;
      store();
    }
    showClasses();
  }

  function showClasses() {
    classRow.replaceChildren();
    const shown = selected >= 0 ? classes().indexOf(boxes[selected].label) : current;
    classes().forEach((name, index) => {
      const button = make("button", "dd-class", classRow);
      button.type = "button";
      button.title = "The class of new boxes and of the selected one";
      button.setAttribute("aria-pressed", String(index === shown));
      make("i", "", button).style.background = model.get("colors")[index];
      make("span", "", button, name);
      if (index < 9) make("kbd", "", button, String(index + 1));
      button.addEventListener("click", () => { choose(index); root.focus({ preventScroll: true }); });
    });
  }

  function showRenames() {
    renameRow.replaceChildren();
    for (const [old, name] of model.get("renames")) {
      make("span", "", renameRow, `There are boxes of the class ${old}.`);
      const button = make("button", "", renameRow, `Rename ${old} to ${name}`);
      button.type = "button";
      button.addEventListener("click", () => send("rename", [old, name]));
    }
    renameRow.style.display = model.get("renames").length ? "" : "none";
  }

  function showWords() {
    head.textContent = model.get("head");
    note.textContent = model.get("note");
    note.className = `dd-note ${model.get("tone")}`;
  }

  // Pixels of the image on the canvas for one pixel of the screen.
  const zoom = () => model.get("size_wh")[0] / Math.max(1, svg.getBoundingClientRect().width);

  function draw() {
    const [width, height] = model.get("size_wh");
    const unit = zoom();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    boxes.forEach((box, index) => {
      if (hidden(box)) return;
      const chosen = index === selected;
      const place = { x: box.x, y: box.y, width: Math.max(0, box.width), height: Math.max(0, box.height) };
      shape("rect", { ...place, fill: "none", stroke: "#111", "stroke-width": (chosen ? 5 : 4) * unit, opacity: 0.75 }, svg);
      shape("rect", {
        ...place, class: "dd-box", fill: color(box.label), "fill-opacity": chosen ? 0.18 : 0.04,
        stroke: color(box.label), "stroke-width": (chosen ? 3 : 2) * unit,
        ...(box.score == null ? {} : { "stroke-dasharray": `${7 * unit} ${5 * unit}` }),
      }, svg);
    });
    boxes.forEach((box, index) => {
      if (hidden(box)) return;
      const size = 12 * unit;
      const text = shape("text", {
        x: box.x + 4 * unit, y: box.y > 18 * unit ? box.y - 5 * unit : box.y + 14 * unit, "font-size": size,
        "font-family": "system-ui, sans-serif", fill: "#fff", stroke: "#111", "stroke-width": 3 * unit,
        "paint-order": "stroke", "pointer-events": "none",
      }, svg);
      text.textContent = box.score == null ? box.label : `${box.label} ${box.score.toFixed(2)}?`;
      if (index === selected) {
        for (const [x, y] of corners(box)) {
          const half = (HANDLE / 2) * unit;
          shape("rect", {
            x: x - half, y: y - half, width: 2 * half, height: 2 * half, rx: 2 * unit,
            fill: "#fff", stroke: "#111", "stroke-width": unit,
          }, svg);
        }
      }
    });
    buttons["Undo"].disabled = !past.length;
    buttons["Delete"].disabled = selected < 0;
    buttons["Copy last"].disabled = !model.get("can_copy");
    buttons["Skip"].style.display = model.get("suggests") ? "" : "none";
    sliderRow.style.display = boxes.some(box => box.score != null) ? "" : "none";
    slider.value = model.get("least");
    sliderText.textContent = `Suggestions from a score of ${model.get("least").toFixed(2)}`;
  }

  const corners = ({ x, y, width, height }) => [
    [x, y], [x + width, y], [x, y + height], [x + width, y + height],
  ];

  function point(event) {
    const area = svg.getBoundingClientRect();
    const [width, height] = model.get("size_wh");
    // Outside of the canvas a drag ends at its edge.
    const x = Math.min(Math.max(event.clientX - area.left, 0), area.width);
    const y = Math.min(Math.max(event.clientY - area.top, 0), area.height);
    return [(x * width) / area.width, (y * height) / area.height];
  }

  // Which edges of which box a point takes hold of; the selected box, then the ones on top, first.
  function hit([x, y]) {
    const order = boxes.map((_, index) => index).reverse();
    if (selected >= 0) order.unshift(selected);
    const near = GRAB * zoom();
    for (const index of order) {
      const box = boxes[index];
      if (hidden(box)) continue;
      // Of a small box something is left to move it by.
      const reach = { x: Math.min(near, Math.max(box.width / 4, near / 3)), y: Math.min(near, Math.max(box.height / 4, near / 3)) };
      if (x < box.x - reach.x || x > box.x + box.width + reach.x) continue;
      if (y < box.y - reach.y || y > box.y + box.height + reach.y) continue;
      const edges = {
        left: Math.abs(x - box.x) <= reach.x, right: Math.abs(x - box.x - box.width) <= reach.x,
        top: Math.abs(y - box.y) <= reach.y, bottom: Math.abs(y - box.y - box.height) <= reach.y,
      };
      return { index, edges };
    }
    return null;
  }

  // Inside a box that is neither suggested nor picked another one begins, such as of an object in front.
  const holds = ({ index, edges }) => any(edges) || boxes[index].score != null || (picked && index === selected);

  const any = edges => edges.left || edges.right || edges.top || edges.bottom;

  function cursor(found) {
    if (!found) return "crosshair";
    const { left, right, top, bottom } = found.edges;
    if ((left && top) || (right && bottom)) return "nwse-resize";
    if ((right && top) || (left && bottom)) return "nesw-resize";
    return left || right ? "ew-resize" : top || bottom ? "ns-resize" : "move";
  }

  svg.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    event.preventDefault();
    root.focus({ preventScroll: true });
    svg.setPointerCapture(event.pointerId);
    const start = point(event);
    const found = event.shiftKey ? null : hit(start); // with Shift a box begins on an edge, too
    drag = { start, before: copied(boxes), moved: false, over: found?.index ?? -1 };
    if (found && holds(found)) {
      selected = found.index;
      drag = { ...drag, kind: any(found.edges) ? "edges" : "move", edges: found.edges, box: { ...boxes[selected] } };
      current = Math.max(0, classes().indexOf(boxes[selected].label));
    } else {
      selected = -1;
      drag.kind = "new";
    }
    showClasses();
    draw();
  });

  svg.addEventListener("pointermove", event => {
    if (!drag) {
      const found = event.shiftKey ? null : hit(point(event));
      svg.style.cursor = cursor(found && holds(found) ? found : null);
      return;
    }
    const [x, y] = point(event);
    const [dx, dy] = [x - drag.start[0], y - drag.start[1]];
    if (!drag.moved && Math.hypot(dx, dy) < SMALLEST * zoom()) return;
    drag.moved = true;
    if (selected >= 0) boxes[selected].score = null;
    picked = drag.kind !== "new";
    if (drag.kind === "new") {
      const box = spanned(drag.start, [x, y]);
      if (selected < 0) {
        boxes.push({ ...box, label: classes()[current], key: null, score: null });
        selected = boxes.length - 1;
      }
      Object.assign(boxes[selected], box);
    } else if (drag.kind === "move") {
      const [width, height] = model.get("size_wh");
      boxes[selected].x = Math.min(Math.max(drag.box.x + dx, 0), Math.max(0, width - drag.box.width));
      boxes[selected].y = Math.min(Math.max(drag.box.y + dy, 0), Math.max(0, height - drag.box.height));
    } else {
      const { box, edges } = drag;
      // The corner that is dragged, and the one that stays; an edge may be drawn past its opposite.
      const x1 = box.x + (edges.left ? dx : 0);
      const x2 = box.x + box.width + (edges.right && !edges.left ? dx : 0);
      const y1 = box.y + (edges.top ? dy : 0);
      const y2 = box.y + box.height + (edges.bottom && !edges.top ? dy : 0);
      Object.assign(boxes[selected], spanned([x1, y1], [x2, y2]));
    }
    draw();
  });

  const spanned = ([x1, y1], [x2, y2]) => ({
    x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1),
  });

  function end(event) {
    if (!drag) return;
    const { moved, before, over } = drag;
    drag = null;
    if (svg.hasPointerCapture(event.pointerId)) svg.releasePointerCapture(event.pointerId);
    if (!moved) { // a click
      selected = over;
      picked = over >= 0;
      if (picked) current = Math.max(0, classes().indexOf(boxes[over].label));
      showClasses();
      draw();
      return;
    }
    const box = boxes[selected];
    if (event.type === "pointercancel" || box.width < SMALLEST || box.height < SMALLEST) {
      boxes = before; // a box that is none
      selected = -1;
    }
    if (JSON.stringify(boxes) !== JSON.stringify(before)) past.push(before);
    store();
    showClasses();
  }
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);

  root.addEventListener("keydown", event => {
    const control = event.ctrlKey || event.metaKey;
    const onButton = event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ");
    if (onButton || (control && event.key.toLowerCase() !== "z") || event.altKey) return;
    const digit = "123456789".indexOf(event.key);
    if (control) undo();
    else if (event.key.length === 1 && digit >= 0) choose(digit);
    else if (event.key === "Delete" || event.key === "Backspace") remove();
    else if (event.key === "Enter" || event.key.toLowerCase() === "n") send("next");
    else if (event.key === " ") send("skip");
    else if (event.key.toLowerCase() === "p") send("previous");
    else if (event.key.toLowerCase() === "c" && !buttons["Copy last"].disabled) buttons["Copy last"].click();
    else if (event.key === "Escape") { selected = -1; showClasses(); draw(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function turn() {
    boxes = copied(model.get("bboxes"));
    past = [];
    selected = -1;
    drag = null;
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([model.get("image_bytes")], { type: "image/jpeg" }));
    image.src = address;
    [image.width, image.height] = model.get("size_wh");
    showClasses();
    showRenames();
    showWords();
    draw();
  }

  // Boxes that Python has added to this page (a copy); what is sent from here comes back as it is.
  function taken() {
    if (drag || JSON.stringify(model.get("bboxes")) === JSON.stringify(boxes)) return;
    boxes = copied(model.get("bboxes"));
    selected = -1;
    showClasses();
    draw();
  }

  const resized = new ResizeObserver(() => draw());
  resized.observe(stage);
  const heard = [
    ["change:page", turn], ["change:bboxes", taken], ["change:renames", showRenames], ["change:can_copy", draw],
    ["change:head", showWords], ["change:note", showWords], ["change:tone", showWords],
  ];
  for (const [name, act] of heard) model.on(name, act);
  turn();
  return () => {
    for (const [name, act] of heard) model.off(name, act);
    resized.disconnect();
    if (address) URL.revokeObjectURL(address);
  };
}

export default { render };
