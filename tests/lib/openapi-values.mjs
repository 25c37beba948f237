// SPDX-License-Identifier: GPL-3.0-or-later
// What a description of an API allows, and what it does not, as arbitraries of fast-check.
//
//     const values = new Values(fc, documents, known);
//     values.fitting(schema, document)      something that the schema allows, often at one of its borders
//     values.spoiled(schema, document)      the same, with one or two places that it mostly does not
//     values.text(json)                     JSON text of a value, sometimes broken
//
// Arbitraries shrink, so what fails is shown as small as it can be. `known` has real names: of a member or
// parameter, or of a schema by its $ref. Without them every request would end at "there is no such job".
const DEPTH_MAX = 6;
const ODD_TEXTS = ["", " ", "A1", "a/b", "%", "%00", "..", "ä€😀", "x".repeat(300), "é".repeat(700), "x".repeat(5000), "-1", "0",
    "18446744073709551616", "9223372036854775808", "null", "true", "'; DROP TABLE jobs; --", "\u202e", "\u0001", "a\u0000b",
    "\ud800", "+", "&", "=", "#", "?", "\\", "\"", "\r\nX: y", "1e3", "0x10", " 1", "١"];
const ODD_VALUES = [null, true, false, 0, -1, 1.5, -0.0, 2 ** 31, 2 ** 53, 2 ** 63, 1e308, [], {}, [[]], [{}], { a: { b: [] } },
    "", "x".repeat(70000)];
const ODD_BYTES = ["", "\0", "\u00ff", "\"", "{", "}", "[", ",", ":", "\\u0000", "\\ud800", "1e999", "99999999999999999999",
    "null", "{\"a\":1,\"a\":2}", "\ufeff", " ".repeat(100), "[".repeat(3000), "{\"a\":".repeat(3000)];

export class Values {
    constructor(fc, documents, known) {
        Object.assign(this, { fc, documents, known, made: new Map() });
        this.oddText = fc.oneof(fc.constantFrom(...ODD_TEXTS), fc.string({ unit: "binary", maxLength: 40 }), fc.string());
        this.oddValue = fc.oneof(fc.constantFrom(...ODD_VALUES), this.oddText, fc.jsonValue({ maxDepth: 3 }));
    }

    resolve(ref, document) {
        const [file, pointer] = ref.split("#");
        const name = file || document;
        const steps = (pointer ?? "").split("/").slice(1).map((s) => s.replaceAll("~1", "/").replaceAll("~0", "~"));
        return [steps.reduce((at, step) => at[step], this.documents[name]), name];
    }

    fitting(schema, document, name = "", depth = 0) {
        const fc = this.fc;
        if (this.known[name] && schema.type !== "object" && schema.type !== "array") {
            const plain = this.plain(schema, document, name, depth);
            return fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...this.known[name]) }, { weight: 1, arbitrary: plain });
        }
        return this.plain(schema, document, name, depth);
    }

    plain(schema, document, name, depth) {
        const fc = this.fc;
        if (schema.$ref) {
            if (this.known[schema.$ref]) return fc.constantFrom(...this.known[schema.$ref]);
            const key = `${document} ${schema.$ref} ${depth}`;
            if (!this.made.has(key)) {
                const [found, where] = this.resolve(schema.$ref, document);
                this.made.set(key, this.fitting(found, where, name, depth));
            }
            return this.made.get(key);
        }
        const parts = [];
        if ("const" in schema) return fc.constant(schema.const);
        if (schema.enum) return fc.constantFrom(...schema.enum);
        if (schema.examples) parts.push(fc.constantFrom(...schema.examples));
        for (const one of schema.oneOf ?? schema.anyOf ?? []) parts.push(this.fitting(one, document, name, depth));
        for (const type of [schema.type ?? []].flat()) parts.push(this.ofType(type, schema, document, depth));
        return parts.length ? fc.oneof(...parts) : this.oddValue;
    }

    ofType(type, schema, document, depth) {
        const fc = this.fc;
        switch (type) {
        case "object": return this.object(schema, document, depth);
        case "array": return this.array(schema, document, depth);
        case "boolean": return fc.boolean();
        case "null": return fc.constant(null);
        case "integer": {
            const min = schema.minimum ?? -(2 ** 53), max = schema.maximum ?? 2 ** 53;
            return fc.oneof(fc.constantFrom(min, max, Math.min(min + 1, max)), fc.integer({ min: Math.max(min, -100), max: Math.min(max, 1000) }));
        }
        default: return this.string(schema);
        }
    }

    string(schema) {
        const fc = this.fc, min = schema.minLength ?? 0, max = schema.maxLength ?? Math.max(min, 60);
        if (schema.pattern)
            return fc.stringMatching(new RegExp(schema.pattern, "u"), { size: "small" }).map((s) => s.slice(0, max));
        if (schema.format === "date-time") return fc.date({ noInvalidDate: true }).map((d) => d.toISOString());
        const edge = fc.constantFrom("x".repeat(min || 1), "x".repeat(max), "é".repeat(max));
        return fc.oneof({ weight: 3, arbitrary: fc.string({ minLength: min, maxLength: Math.min(max, min + 40) }) },
            { weight: 1, arbitrary: edge },
            { weight: 1, arbitrary: fc.string({ unit: "grapheme", minLength: min, maxLength: Math.min(max, min + 20) }) });
    }

    array(schema, document, depth) {
        const fc = this.fc, min = schema.minItems ?? 0, max = schema.maxItems ?? 40;
        if (depth > DEPTH_MAX) return fc.constant([]);
        const items = this.fitting(schema.items ?? {}, document, "", depth + 1);
        return fc.oneof({ weight: 8, arbitrary: fc.array(items, { minLength: min, maxLength: Math.min(max, min + 2) }) },
            { weight: 1, arbitrary: fc.array(items, { minLength: min, maxLength: Math.min(max, 40), size: "max" }) });
    }

    object(schema, document, depth) {
        const fc = this.fc, members = {};
        if (depth > DEPTH_MAX) return fc.constant({});
        for (const [key, value] of Object.entries(schema.properties ?? {})) members[key] = this.fitting(value, document, key, depth + 1);
        const record = fc.record(members, { requiredKeys: schema.required ?? [], noNullPrototype: true });
        if (typeof schema.additionalProperties !== "object") return record;
        const more = fc.dictionary(this.oddText, this.fitting(schema.additionalProperties, document, "", depth + 1),
            { maxKeys: schema.maxProperties ?? 5, noNullPrototype: true });
        return fc.tuple(record, more).map(([a, b]) => ({ ...b, ...a }));
    }

    spoiled(schema, document) {
        const fc = this.fc;
        const spot = fc.record({ at: fc.nat(1000), how: fc.constantFrom("replace", "remove", "add", "null"), odd: this.oddValue, name: this.oddText });
        return fc.tuple(this.fitting(schema, document), fc.array(spot, { minLength: 1, maxLength: 2 })).map(([value, spots]) =>
            spots.reduce((v, s) => spoil(v, s), structuredClone(value)));
    }

    // A body as text: as it is, or with bytes put in, taken out or cut off.
    text(value, break_) {
        const json = JSON.stringify(value) ?? "";
        if (!break_) return Buffer.from(json);
        const at = break_.at % (json.length + 1);
        return Buffer.concat([Buffer.from(json.slice(0, at)), Buffer.from(break_.bytes, "latin1"),
            Buffer.from(break_.cut ? "" : json.slice(at + break_.skip))]);
    }

    breaks() {
        const fc = this.fc;
        return fc.record({ at: fc.nat(2000), bytes: fc.oneof(fc.constantFrom(...ODD_BYTES), fc.string({ unit: "binary", maxLength: 8 })),
            skip: fc.nat(3), cut: fc.boolean() });
    }
}

// All places of a value, as [holder, key].
function places(value, into = []) {
    if (value && typeof value === "object")
        for (const key of Object.keys(value)) {
            into.push([value, key]);
            places(value[key], into);
        }
    return into;
}

function spoil(value, { at, how, odd, name }) {
    const all = places(value);
    if (!all.length) return how === "add" && value && typeof value === "object" && !Array.isArray(value) ? { [name]: odd } : odd;
    const [holder, key] = all[at % all.length];
    if (how === "remove") Array.isArray(holder) ? holder.splice(Number(key), 1) : delete holder[key];
    else if (how === "add" && !Array.isArray(holder)) Object.defineProperty(holder, name, { value: odd, enumerable: true, configurable: true, writable: true });
    else holder[key] = how === "null" ? null : odd;
    return value;
}
