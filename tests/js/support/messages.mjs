const common = { text: "", generation: null, model: null, rating: null, can_continue: false, error: null };

export function question(id, parent = null, changes = {}) {
  return { ...common, id, parent, role: "user", state: "done", text: `Question ${id}`, siblings: [id], ...changes };
}

export function answer(id, parent, changes = {}) {
  return { ...common, id, parent, role: "assistant", state: "done", siblings: [id], ...changes };
}
