'use strict';

const fs = require('fs');
const path = require('path');
const avro = require('avsc');

/** An exact decimal as a BigInt of its last digit: 2.5500 of scale 4 is 25500n. */
class Decimal extends avro.types.LogicalType {
  constructor(schema, options) {
    super(schema, options);
    this.scale = schema.scale;
  }

  _fromValue(bytes) {
    return bytes.length ? BigInt.asIntN(8 * bytes.length, BigInt('0x' + bytes.toString('hex'))) : 0n;
  }

  _toValue() {
    throw new Error('this reader writes nothing');
  }

  // The scale is part of what was agreed: another one would be another amount.
  _resolve(type) {
    return type instanceof Decimal && type.scale === this.scale ? (value) => value : undefined;
  }
}

const parse = (schema) => avro.Type.forSchema(schema, { logicalTypes: { decimal: Decimal } });

/** Reads one type of event, whatever version wrote it and in either form, as this reader's own schema. */
class EventReader {
  constructor(file, shop, registry) {
    this.type = parse(JSON.parse(fs.readFileSync(path.join(__dirname, 'schemas', file), 'utf8')));
    this.shop = shop;
    this.registry = registry;
    this.resolvers = new Map();
  }

  async read(value) {
    if (value[0] === 0xc3 && value[1] === 0x01) {
      // Avro single object: c3 01, the schema's fingerprint in 8 bytes, the body.
      const fingerprint = value.subarray(2, 10).toString('hex');
      const resolver = await this.resolver(`${this.shop}/schemas/${fingerprint}`, (answer) => answer);
      return this.type.decode(value, 10, resolver).value;
    }
    if (value[0] === 0) {
      // The wire format of a schema registry: 00, the schema's id in 4 bytes, the body.
      const url = `${this.registry}/schemas/ids/${value.readInt32BE(1)}`;
      const resolver = await this.resolver(url, (answer) => JSON.parse(answer.schema));
      return this.type.decode(value, 5, resolver).value;
    }
    throw new Error('neither an Avro single object nor in the wire format of a registry');
  }

  async resolver(url, schemaOf) {
    if (!this.resolvers.has(url)) {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
      this.resolvers.set(url, this.type.createResolver(parse(schemaOf(await answer.json()))));
    }
    return this.resolvers.get(url);
  }
}

module.exports = { EventReader };
