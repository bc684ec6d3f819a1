'use strict';

// Prints each event of a topic, to its present end, as a line of JSON: partition, offset, key, and its headers.
//
//   node print-events.js BROKERS TOPIC

const { Kafka, logLevel } = require('kafkajs');

const [brokers, topic] = process.argv.slice(2);

async function main() {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map((it) => [it.partition, BigInt(it.high)]));
  await admin.disconnect();
  const open = new Set([...ends].filter(([, end]) => end > 0n).map(([partition]) => partition));
  const consumer = kafka.consumer({ groupId: `print-events-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise((resolve, reject) => {
    if (!open.size) resolve();
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const headers = Object.entries(message.headers).map(([name, value]) => [name, value.toString()]);
        const place = { partition, offset: Number(message.offset), key: message.key.toString() };
        console.log(JSON.stringify({ ...place, ...Object.fromEntries(headers) }));
        if (BigInt(message.offset) + 1n >= ends.get(partition)) open.delete(partition);
        if (!open.size) resolve();
      },
    });
  });
  await consumer.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
