'use strict';

const { Kafka, logLevel } = require('kafkajs');

/** Reads a topic from its beginning to its present end, each message by `apply`. `name` begins the name of its group. */
async function readToEnd(brokers, topic, name, apply) {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map((it) => [it.partition, BigInt(it.high)]));
  await admin.disconnect();
  const open = new Set([...ends].filter(([, end]) => end > 0n).map(([partition]) => partition));
  const consumer = kafka.consumer({ groupId: `${name}-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise((resolve, reject) => {
    if (!open.size) resolve();
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        await apply(message);
        if (BigInt(message.offset) + 1n >= ends.get(partition)) open.delete(partition);
        if (!open.size) resolve();
      },
    });
  });
  await consumer.disconnect();
}

module.exports = { readToEnd };
