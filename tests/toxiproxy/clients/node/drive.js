// Drives a Toxiproxy through the whole of toxiproxy-node-client: node drive.js API-URL ECHO-SERVER
"use strict";
const assert = require("node:assert/strict");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const [url, echo] = process.argv.slice(2);

// Milliseconds for a few bytes through the proxy and back.
function roundTrip(proxy) {
  const [host, port] = proxy.listen.split(":");
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const socket = net.connect(Number(port), host, () => socket.write("ping"));
    socket.on("error", reject);
    socket.on("data", (data) => {
      assert.equal(data.toString(), "ping");
      socket.destroy();
      resolve(performance.now() - began);
    });
  });
}

async function main() {
  const toxiproxy = new Toxiproxy(url);
  assert.ok(JSON.parse(await toxiproxy.getVersion()).version);

  const created = await toxiproxy.createProxy({ name: "node", listen: "127.0.0.1:0", upstream: echo });
  assert.equal(created.enabled, true);
  await roundTrip(created);
  await assert.rejects(toxiproxy.createProxy({ name: "node", listen: "127.0.0.1:0", upstream: echo }), /409/);

  const body = { name: "late", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 80, jitter: 0 } };
  const toxic = await created.addToxic(body);
  assert.deepEqual(toxic.toJson(), body);
  assert.ok((await roundTrip(created)) >= 80);
  const faster = await toxic.update({ ...body, attributes: { latency: 1, jitter: 0 } });
  assert.equal(faster.attributes.latency, 1);
  assert.ok((await roundTrip(created)) < 80);
  assert.equal((await created.getToxic("late")).attributes.latency, 1);
  await faster.remove();
  await assert.rejects(created.getToxic("late"), /404/);

  const { name, listen, upstream } = created;
  const disabled = await created.update({ name, listen, upstream, enabled: false });
  assert.equal(disabled.enabled, false);
  await assert.rejects(roundTrip(created), /ECONNREFUSED/);
  await created.addToxic(body);
  await toxiproxy.reset();
  const again = await toxiproxy.get("node");
  assert.equal(again.enabled, true);
  await assert.rejects(again.getToxic("late"), /404/);
  await roundTrip(again);

  const populated = await toxiproxy.populate([
    { name: "node", listen: again.listen, upstream: echo },
    { name: "other", listen: "127.0.0.1:0", upstream: echo, enabled: false },
  ]);
  assert.deepEqual(Object.keys(populated).sort(), ["node", "other"]);
  assert.equal(populated.other.enabled, false);
  await roundTrip(populated.node);

  for (const proxy of Object.values(await toxiproxy.getAll())) await proxy.remove();
  assert.deepEqual(await toxiproxy.getAll(), {});
  console.log("all held");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
