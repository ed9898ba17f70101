import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Api } = await import("models/api");

function setUp(reply = { ok: true, status: 200, json: async () => ({}) }) {
  const sent = [];
  const fetch = async (url, request) => (sent.push([request.method, url, request.body && JSON.parse(request.body)]), reply);
  return { api: new Api({ base: "/api/", token: "t", fetch }), sent };
}

test("whatever was typed goes out as it can be stored, however deep it stands", async () => {
  const { api, sent } = setUp();
  await api.put("a/", { value: -1, reasons: ["a\u0000b"], comment: "x \ud83d y\u001b\n\tz 🦊", more: { about: "\udc00" } });
  await api.patch("b/", { title: "\u0000" });
  await api.post("c/", { text: null });
  await api.get("d/");
  assert.deepEqual(sent, [
    ["PUT", "/api/a/", { value: -1, reasons: ["ab"], comment: "x \ufffd y\n\tz 🦊", more: { about: "\ufffd" } }],
    ["PATCH", "/api/b/", { title: "" }],
    ["POST", "/api/c/", { text: null }],
    ["GET", "/api/d/", undefined],
  ]);
});
