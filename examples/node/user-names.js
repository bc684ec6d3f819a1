'use strict';

// Reads the events of all users to their present end, and prints the name of each as JSON: as text where there is a key,
// {"sealed": true} where there is none, {"erased": true} where the user was forgotten.
//
//   node user-names.js BROKERS EVENTS_TOPIC SHOP_URL NAMESPACE KEYS_FILE [REGISTRY_URL]
//
// KEYS_FILE has by user the number and the key, {"17850": {"number": 1, "key": "<64 hex digits>"}}: see sealed.js.

const fs = require('fs');
const { EventReader } = require('./event-reader');
const { Opener } = require('./sealed');
const { readToEnd } = require('./topic');

const [brokers, topic, shop, namespace, keys, registry] = process.argv.slice(2);
const registered = new EventReader('UserRegistered.avsc', shop, registry);
const opener = new Opener(namespace, JSON.parse(fs.readFileSync(keys, 'utf8')));
const names = new Map();

async function apply(message) {
  if (message.headers.ce_type.toString() !== 'UserRegistered') return;
  const id = message.key.toString();
  const { name } = await registered.read(message.value);
  names.set(id, opener.open('user', id, message.headers.ce_sequence.toString(), 'name', id, name));
}

async function main() {
  await readToEnd(brokers, topic, 'user-names', apply);
  console.log(JSON.stringify(Object.fromEntries(names)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
