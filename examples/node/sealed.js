'use strict';

const crypto = require('crypto');

const DOMAIN = Buffer.from('sourced\u00001');
const HEADER = 18;

/** What stands for a value that nobody here can read, and for one that nobody can read any more. */
const SEALED = Object.freeze({ sealed: true });
const ERASED = Object.freeze({ erased: true });

/** A text behind its length in bytes. */
function counted(text) {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/**
 * Opens personal fields: see docs/privacy.md, "The sealed form". `keys` has by subject the number of its newest key, and
 * the key in hex, or null for a person who was forgotten.
 */
class Opener {
  constructor(namespace, keys) {
    this.namespace = namespace;
    this.keys = keys;
  }

  /** A field of an event as text, null, SEALED or ERASED. */
  open(type, id, sequence, field, subject, bytes) {
    if (bytes === null) return null;
    const key = this.keys[subject];
    if (key !== undefined && key.key === null) return ERASED;
    if (bytes[0] !== 0xf8) return bytes.toString('utf8'); // of a version without the mark
    if (bytes[1] === 0) return ERASED;
    if (bytes[1] !== 1) throw new Error(`a sealed form ${bytes[1]}, which this reader does not know`);
    if (key === undefined) return SEALED;
    if (bytes.readUInt32BE(2) < key.number) return ERASED;
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(BigInt(sequence));
    const decipher = crypto.createDecipheriv('aes-256-gcm', Buffer.from(key.key, 'hex'), bytes.subarray(6, HEADER));
    decipher.setAAD(
      Buffer.concat([DOMAIN, counted(this.namespace), counted(type), counted(id), number, Buffer.from(field, 'utf8')])
    );
    decipher.setAuthTag(bytes.subarray(bytes.length - 16));
    return decipher.update(bytes.subarray(HEADER, bytes.length - 16), undefined, 'utf8') + decipher.final('utf8');
  }
}

module.exports = { Opener };
