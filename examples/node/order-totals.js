'use strict';

// Reads the events of all orders to their present end, and prints the total of each order as JSON.
//
//   node order-totals.js BROKERS EVENTS_TOPIC SHOP_URL [REGISTRY_URL]

const { EventReader } = require('./event-reader');
const { readToEnd } = require('./topic');

const [brokers, topic, shop, registry] = process.argv.slice(2);
const added = new EventReader('LineAdded.avsc', shop, registry);
const removed = new EventReader('LineRemoved.avsc', shop, registry);
const orders = new Map();
const applied = new Map();

async function apply(message) {
  const header = (name) => message.headers[name].toString();
  // Delivery is at least once: what is not newer than what was applied of its stream has been applied.
  const [stream, commit, index] = header('ce_position').split(':');
  const place = [BigInt(commit), BigInt(index)];
  const last = applied.get(stream);
  if (last && (place[0] < last[0] || (place[0] === last[0] && place[1] <= last[1]))) return;
  applied.set(stream, place);
  const id = message.key.toString();
  if (!orders.has(id)) orders.set(id, []);
  switch (header('ce_type')) {
    case 'LineAdded': {
      const line = await added.read(message.value);
      orders.get(id).push({ sku: line.sku, amount: BigInt(line.quantity) * line.unit_price });
      break;
    }
    case 'LineRemoved': {
      const { sku } = await removed.read(message.value);
      orders.set(id, orders.get(id).filter((line) => line.sku !== sku));
      break;
    }
    default: // the rest says nothing about totals, and what comes in future years may be ignored too
  }
}

/** An amount of scale 4 as text. */
function text(amount) {
  const digits = amount.toString().padStart(5, '0');
  return `${digits.slice(0, -4)}.${digits.slice(-4)}`;
}

async function main() {
  await readToEnd(brokers, topic, 'order-totals', apply);
  const totals = [...orders].sort(([one], [other]) => (one < other ? -1 : 1));
  const sum = (lines) => lines.reduce((total, line) => total + line.amount, 0n);
  console.log(JSON.stringify(Object.fromEntries(totals.map(([id, lines]) => [id, text(sum(lines))]))));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
