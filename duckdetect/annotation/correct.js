// The strip of detections: a click on a crop says that it is wrong, another one takes that back.

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "dd-strip";
  root.style.cssText = "display: flex; flex-wrap: wrap; gap: 6px; font: 12px system-ui, sans-serif;";
  const note = document.createElement("div");
  note.setAttribute("role", "status");
  note.style.cssText = "font: 13px system-ui, sans-serif; margin: 4px 0;";
  el.append(note, root);

  function draw() {
    const wrong = model.get("wrong");
    const trouble = model.get("trouble");
    note.textContent = trouble
      ? `Not saved: ${trouble}`
      : `Click what is wrong: ${wrong.length} of ${model.get("crops").length} handed back. Saved at once.`;
    root.replaceChildren();
    model.get("crops").forEach((crop, index) => {
      const marked = wrong.includes(index);
      const button = document.createElement("button");
      button.type = "button";
      button.title = crop.title;
      button.setAttribute("aria-pressed", String(marked));
      button.style.cssText = `padding: 2px; border-radius: 6px; cursor: pointer; color: inherit; font: inherit;
        background: ${marked ? "#d9302533" : "transparent"}; border: 2px solid ${marked ? "#d93025" : "#8888"};`;
      const image = document.createElement("img");
      image.src = crop.src;
      image.alt = crop.title;
      image.style.cssText = `display: block; width: 110px; height: 110px; margin: 0; opacity: ${marked ? 0.5 : 1};`;
      button.append(image, marked ? `wrong (${crop.text})` : crop.text);
      button.addEventListener("click", () => {
        const now = model.get("wrong");
        model.set("wrong", now.includes(index) ? now.filter(i => i !== index) : [...now, index]);
        model.save_changes();
        draw();
        root.children[index].focus({ preventScroll: true });
      });
      root.append(button);
    });
  }

  model.on("change:wrong", draw);
  model.on("change:trouble", draw);
  draw();
  return () => {
    model.off("change:wrong", draw);
    model.off("change:trouble", draw);
  };
}

export default { render };
