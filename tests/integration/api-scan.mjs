// SPDX-License-Identifier: GPL-3.0-or-later
// A client that knows of Berth what its OpenAPI descriptions say, and asks well, at the borders and badly; api-scan.py
// starts it. The requests are made and, when one fails, made smaller by fast-check; the descriptions are validated by
// @seriousme/openapi-schema-validator, and the answers, and what was asked, by ajv.
//
// In: BERTH_ASK, a JSON object. Out: what was asked and answered. Ends with 1, the seed and the smallest requests that show
// it when there is an answer of the 5xx, one that the description does not allow, one that it does not allow to what was
// asked (2xx to what it says is wrong), none within HANG_MS, or a connection that is cut.
import assert from "node:assert/strict";
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import path from "node:path";
import tls from "node:tls";
import { Values } from "../lib/openapi-values.mjs";

const ask = JSON.parse(process.env.BERTH_ASK);
const need = createRequire(ask.npm + "/");
const fc = need("fast-check");
const Ajv = need("ajv/dist/2020");
const formats = need("ajv-formats");
const { Validator } = await import(need.resolve("@seriousme/openapi-schema-validator"));

const HANG_MS = 30_000;
const TOO_LONG = 16_000; // of path and query; headers have 32 KiB
const BASE = "file:///docs/";
const METHODS = ["get", "put", "post", "delete", "patch"];
const FILES = ["openapi.json", "openapi-importexport.json", "berth-event.schema.json"];
const documents = Object.fromEntries(FILES.map((f) => [f, JSON.parse(fs.readFileSync(path.join(ask.docs, f)))]));
const counts = {}, statuses = {};

// --- the descriptions ---

async function validateDescriptions() {
    for (const file of FILES.slice(0, 2)) {
        const validator = new Validator();
        await validator.addSpecRef(structuredClone(documents[FILES[2]]), FILES[2]);
        const result = await validator.validate(structuredClone(documents[file]));
        assert(result.valid, `${file}: ${JSON.stringify(result.errors)}`);
        validator.resolveRefs();
    }
}

// The same, but a member that is not described is an error.
function strict(schema) {
    if (Array.isArray(schema)) return schema.map(strict);
    if (!schema || typeof schema !== "object") return schema;
    const made = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)]));
    if (made.type === "object" && made.properties) made.additionalProperties ??= false;
    return made;
}

function compiler(change) {
    const ajv = new Ajv({ strict: false, validateSchema: false, allErrors: false, inlineRefs: false });
    formats(ajv);
    for (const file of FILES) ajv.addSchema({ ...change(documents[file]), $id: BASE + file, $schema: undefined });
    const made = new Map();
    return (file, schema) => {
        if (!made.has(schema)) made.set(schema, ajv.compile(absolute(change(schema), file)));
        return made.get(schema);
    };
}

// A schema from inside of a document, with references that hold outside.
function absolute(schema, file) {
    if (Array.isArray(schema)) return schema.map((s) => absolute(s, file));
    if (!schema || typeof schema !== "object") return schema;
    return Object.fromEntries(Object.entries(schema).map(([key, value]) => key === "$ref" && typeof value === "string"
        ? [key, BASE + (value.startsWith("#") ? file + value : value)] : [key, absolute(value, file)]));
}

const answered = compiler(strict), asked = compiler((s) => s);
const values = new Values(fc, documents, ask.known);
const deref = (value, file) => value.$ref ? values.resolve(value.$ref, file)[0] : value;

function operationsOf(file) {
    const list = [];
    for (const [target, methods] of Object.entries(documents[file].paths))
        for (const [method, op] of Object.entries(methods))
            list.push({ file, target, method: method.toUpperCase(), op, name: op.operationId,
                parameters: (op.parameters ?? []).map((p) => deref(p, file)),
                others: METHODS.filter((m) => !methods[m]).map((m) => m.toUpperCase()) });
    return list;
}
const operations = FILES.slice(0, 2).flatMap(operationsOf);
// The job service does not look at parts of a query that it does not know, and has no HEAD.
const tolerant = (o) => o.file !== FILES[0];

// --- a request ---

function parameter(p, file, good) {
    const right = values.fitting(p.schema, file, p.name);
    if (good) return right.map((v) => String(v));
    const wrong = p.in === "header" ? fc.string().map((s) => s.replace(/[^ -~]/g, "")) : values.oddText;
    return fc.oneof({ weight: 14, arbitrary: right }, { weight: 1, arbitrary: wrong }).map((v) => String(v));
}

// Nothing but once in `n` times.
const seldom = (arbitrary, n) => fc.oneof({ weight: n - 1, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });

function bodyOf(content, type, file, good) {
    const schema = content[type].schema;
    if (good) return fc.record({ type: fc.constant(type), value: values.fitting(schema, file), broken: fc.constant(null) });
    return fc.record({ type: fc.oneof({ weight: 12, arbitrary: fc.constant(type) }, { weight: 1, arbitrary: fc.constantFrom("text/plain", "application/json; charset=utf-8", "") }),
        value: fc.oneof({ weight: 3, arbitrary: values.fitting(schema, file) }, { weight: 3, arbitrary: values.spoiled(schema, file) }, { weight: 1, arbitrary: values.oddValue }),
        broken: seldom(values.breaks(), 8) });
}

// Half of them have nothing wrong in them, so that they come far; the others may have it anywhere.
const requestOf = (o) => fc.oneof(requestLike(o, true), requestLike(o, false));

function requestLike(o, good) {
    const places = Object.fromEntries(o.parameters.map((p) => [`${p.in} ${p.name}`,
        p.required ? parameter(p, o.file, good) : fc.option(parameter(p, o.file, good), { nil: undefined, freq: 2 })]));
    const needed = o.parameters.filter((p) => p.required).map((p) => `${p.in} ${p.name}`);
    const content = o.op.requestBody?.content ?? {};
    const bodies = Object.keys(content).map((type) => bodyOf(content, type, o.file, good));
    const none = fc.constant(null), bad = (arbitrary) => (good ? none : arbitrary);
    const odd = fc.record({ type: fc.constant("application/json"), value: values.oddValue, broken: none });
    return fc.record({
        o: fc.constant(o),
        parameters: fc.record(places, { requiredKeys: needed, noNullPrototype: true }),
        without: bad(seldom(fc.nat(20), 15)), // this required one
        more: bad(seldom(fc.tuple(values.oddText, values.oddText), 15)),
        twice: bad(seldom(fc.nat(20), 30)),
        method: fc.oneof({ weight: 20, arbitrary: fc.constant(o.method) },
            { weight: 1, arbitrary: fc.constantFrom(...o.others, ...(o.method === "GET" ? ["HEAD"] : [])) }),
        body: bodies.length ? fc.option(fc.oneof(...bodies), { freq: 15 }) : bad(seldom(odd, 8)), // is there one?
        at: fc.constantFrom(...Object.keys(ask.bases)),
        token: good ? fc.constant("admin")
            : fc.oneof({ weight: 15, arbitrary: fc.constant("admin") }, { weight: 1, arbitrary: fc.constantFrom("read", "operate", "station", "nobody") }),
        stream: o.name === "EVENTS_LIST" ? fc.boolean() : fc.constant(false),
    });
}

const encode = (text) => encodeURIComponent(text.toWellFormed());

function build(r) {
    const { o } = r, wrong = [], query = [], headers = {};
    let target = o.target;
    const needed = o.parameters.filter((p) => p.required && p.in === "query");
    const left = r.without !== null && needed.length ? needed[r.without % needed.length].name : null;
    for (const p of o.parameters) {
        const value = r.parameters[`${p.in} ${p.name}`];
        if (p.in === "path") target = target.replace(`{${p.name}}`, encode(value || "x"));
        else if (value !== undefined && p.name === left) wrong.push(`without ${left}`);
        else if (value !== undefined && p.in === "query") query.push([p.name, value]);
        else if (value !== undefined && /^[ -~]*$/.test(value)) headers[p.name] = value;
        if (value !== undefined && p.in === "query" && !fits(p, value, o.file)) wrong.push(`${p.name}=${value.slice(0, 80)}`);
    }
    if (r.more && !query.some(([name]) => name === r.more[0].toWellFormed())) {
        query.push(r.more);
        if (!tolerant(o)) wrong.push("an unknown part of the query");
    }
    if (r.twice !== null && query.length) {
        query.push(query[r.twice % query.length]);
        wrong.push("a part of the query twice");
    }
    if (query.length) target += "?" + query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");
    if (r.stream) headers.Accept = "text/event-stream";
    headers.Authorization = "Bearer " + (ask.tokens[r.token] ?? "nobody's");
    let body = null;
    if (r.body && r.method !== "HEAD") {
        body = values.text(r.body.value, r.body.broken);
        if (r.body.type) headers["Content-Type"] = r.body.type;
        headers["Content-Length"] = body.length;
        judgeBody(o, r.body.type, body, wrong);
    } else if (o.op.requestBody?.required) wrong.push("no body");
    return { method: r.method, target, headers, body, wrong, at: r.at };
}

// A parameter is a text; what it is to be says its schema.
function fits(p, text, file) {
    const check = asked(file, p.schema);
    if (p.schema.type === "integer") return /^\d+$/.test(text) && check(Number(text));
    if (p.schema.type === "boolean") return text === "true" || text === "false";
    return check(text);
}

function withoutNulls(value) {
    if (Array.isArray(value)) return value.map(withoutNulls);
    if (!value || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([k, v]) => [k, withoutNulls(v)]));
}

function judgeBody(o, type, body, wrong) {
    const content = o.op.requestBody?.content;
    if (!content) return; // a body that nothing is said of: judged as if there were none
    const essence = type.split(";")[0] || "application/json";
    const one = content[essence] ?? content[Object.keys(content)[0]];
    let value;
    try {
        value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
    } catch {
        if (body.length || o.op.requestBody.required) wrong.push("a body that is no JSON");
        return;
    }
    if (o.name === "HUB_EVENTS") { // of each event that is wrong the answer says so
        if (!value || typeof value !== "object" || value.length > one.schema.maxItems) wrong.push("no events");
        return;
    }
    const check = asked(o.file, one.schema);
    if (!check(withoutNulls(value))) wrong.push(`body: ${check.errors[0].instancePath} ${check.errors[0].message}`);
}

const agent = new https.Agent({ keepAlive: true, maxSockets: 16, ca: fs.readFileSync(ask.ca) });

function send(q) {
    return new Promise((resolve, reject) => {
        const url = new URL(ask.bases[q.at]);
        const request = https.request({ agent, host: url.hostname, port: url.port, method: q.method, path: q.target, headers: q.headers });
        let before;
        request.on("socket", (socket) => { // what a connection had before may be what it is cut for
            before = socket.before;
            socket.before = `${q.method} ${q.target.slice(0, 200)} ${q.headers.Accept ?? ""}`;
        });
        const slow = setTimeout(() => request.destroy(new Error(`no answer within ${HANG_MS} ms`)), HANG_MS);
        request.on("error", (e) => {
            clearTimeout(slow);
            e.message += before ? `; before it came ${before}` : "";
            reject(e);
        });
        request.on("response", (response) => {
            const parts = [];
            const done = () => {
                clearTimeout(slow);
                resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) });
            };
            if (response.headers["content-type"]?.startsWith("text/event-stream")) { // it does not end
                response.once("data", (d) => {
                    parts.push(d);
                    done();
                    request.destroy();
                });
            }
            response.on("data", (d) => parts.push(d));
            response.on("end", done);
            response.on("error", (e) => { clearTimeout(slow); reject(e); });
        });
        request.end(q.body ?? undefined);
    });
}

// --- the answer ---

function judge(o, q, a) {
    const say = (what) => new Error(`${o.name}: ${what}`);
    if (a.status >= 500) return say(`${a.status}: ${a.body.toString().slice(0, 400)}`);
    if (q.method !== o.method && (q.method !== "HEAD" || tolerant(o))) {
        if (![400, 401, 403, 404, 405, 413, 414, 429, 431].includes(a.status)) return say(`${q.method} is not described, and answered with ${a.status}`);
        return a.status === 405 && !a.headers.allow ? say("405 without Allow") : null;
    }
    // What is too long to be read as a request at all is refused by the library below, whatever it is about.
    if (q.target.length > TOO_LONG && [414, 431].includes(a.status)) return null;
    const described = o.op.responses[a.status];
    if (!described) return say(`${a.status} is not described: ${a.body.toString().slice(0, 300)}`);
    if (a.status < 300 && q.wrong.length && q.method !== "HEAD") return say(`${a.status}, and the request is wrong: ${q.wrong.join("; ")}`);
    const response = deref(described, o.file);
    for (const [name, header] of Object.entries(response.headers ?? {})) {
        const value = a.headers[name.toLowerCase()];
        if (value === undefined ? header.required : !answered(o.file, header.schema)(value)) return say(`${a.status}: header ${name}: ${value}`);
    }
    if (q.method === "HEAD" || !response.content) return a.body.length ? say(`${a.status} with a body`) : null;
    const type = (a.headers["content-type"] ?? "").split(";")[0];
    if (!response.content[type]) return say(`${a.status}: Content-Type ${type} is not described`);
    let value = a.body.toString();
    if (type === "application/json")
        try { value = JSON.parse(value); } catch { return say(`${a.status}: no JSON: ${value.slice(0, 200)}`); }
    const check = answered(o.file, response.content[type].schema);
    if (check(value)) return null;
    const { instancePath, message, params } = check.errors[0];
    const at = instancePath.split("/").slice(1).reduce((v, step) => v[step], value);
    return say(`${a.status}: ${instancePath} ${message} ${JSON.stringify(params)}: ${JSON.stringify(at).slice(0, 400)}`);
}

async function run(o, q) {
    let error;
    try {
        const a = await send(q);
        const key = q.method === o.method ? o.name : `${q.method} of others`;
        (counts[key] ??= {})[a.status] = (counts[key]?.[a.status] ?? 0) + 1;
        statuses[a.status] = (statuses[a.status] ?? 0) + 1;
        error = judge(o, q, a);
    } catch (e) {
        error = new Error(`${o.name}: ${e.code ?? ""} ${e.message}`);
    }
    if (error) throw new Error(`${error.message}\n    ${q.at}: ${q.method} ${q.target.slice(0, 500)} ${JSON.stringify(q.headers["Content-Type"] ?? "")} ${q.body ? JSON.stringify(q.body.toString("latin1").slice(0, 1500)) : ""}`);
}

// --- what is no HTTP, or hardly ---

function raw(at, bytes) {
    return new Promise((resolve, reject) => {
        const url = new URL(ask.bases[at]);
        const socket = tls.connect({ host: url.hostname, port: url.port, ca: fs.readFileSync(ask.ca), servername: "localhost" });
        const parts = [];
        const slow = setTimeout(() => { socket.destroy(); reject(new Error(`raw: the connection stays for ${HANG_MS} ms`)); }, HANG_MS);
        const end = () => { clearTimeout(slow); socket.destroy(); resolve(Buffer.concat(parts).toString("latin1")); };
        socket.on("secureConnect", () => socket.end(bytes));
        socket.on("data", (d) => parts.push(d));
        socket.on("end", end);
        socket.on("error", end); // that such a connection is cut is right
    });
}

const rawRequest = () => {
    const auth = `Authorization: Bearer ${ask.tokens.admin}\r\n`;
    const good = (line, rest = "", body = "") => `${line}\r\nHost: x\r\n${auth}${rest}\r\n${body}`;
    const seeds = [good("GET /v1/station HTTP/1.1"), good("GET /v1/station HTTP/9.9"), good("GET /v1/station HTTP/1.0"), good("GET /v1/station"),
        good("G\0T /v1/station HTTP/1.1"), good("GET  /v1/station HTTP/1.1"), good("GET * HTTP/1.1"), good("OPTIONS * HTTP/1.1"),
        good("GET http://x/v1/station HTTP/1.1"), good("CONNECT x:1 HTTP/1.1"), good("TRACE /v1/station HTTP/1.1"), good("GET /v1/%zz HTTP/1.1"),
        good("PUT /v1/limits HTTP/1.1", "Content-Length: 5\r\n", "{}"), good("PUT /v1/limits HTTP/1.1", "Content-Length: -1\r\n", "{}"),
        good("PUT /v1/limits HTTP/1.1", "Content-Length: 99999999999999999999\r\n", "{}"), good("PUT /v1/limits HTTP/1.1", "Content-Length: 20000000\r\n", "{}"),
        good("PUT /v1/limits HTTP/1.1", "Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        good("PUT /v1/limits HTTP/1.1", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), good("PUT /v1/limits HTTP/1.1", "Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n"),
        good("PUT /v1/limits HTTP/1.1", "Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}\r\n"), good("PUT /v1/limits HTTP/1.1", "Transfer-Encoding: gzip\r\n", "{}"),
        good("PUT /v1/limits HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        good("PUT /v1/limits HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 2\r\n", "{}"), good("PUT /v1/limits HTTP/1.1", "Expect: nothing\r\n"),
        good(`GET /v1/${"a".repeat(9000)} HTTP/1.1`), good(`GET /v1/${"a".repeat(70000)} HTTP/1.1`), good("GET /v1/station HTTP/1.1", `X: ${"a".repeat(70000)}\r\n`),
        good("GET /v1/station HTTP/1.1", "X: y\r\n".repeat(5000)), good("GET /v1/station HTTP/1.1", ": y\r\nX\r\n"), good("GET /subscriptions/a/providers/Microsoft.ImportExport/jobs HTTP/1.1"),
        "GET /v1/station HTTP/1.1\r\n", "\r\n\r\n\r\n", "\u0016\u0003\u0001", good("GET /v1/station HTTP/1.1").repeat(20)];
    return fc.record({ at: fc.constantFrom(...Object.keys(ask.bases)), seed: fc.constantFrom(...seeds),
        break_: fc.option(values.breaks(), { freq: 2 }) });
};

async function scanRaw(seed) {
    await fc.assert(fc.asyncProperty(rawRequest(), async ({ at, seed, break_ }) => {
        const place = break_ ? break_.at % (seed.length + 1) : 0;
        const text = break_ ? seed.slice(0, place) + break_.bytes + (break_.cut ? "" : seed.slice(place + break_.skip)) : seed;
        const answer = await raw(at, Buffer.from(text, "latin1"));
        for (const [, status] of answer.matchAll(/^HTTP\/1\.[01] (\d+)/gm)) {
            (counts["raw"] ??= {})[status] = (counts["raw"]?.[status] ?? 0) + 1;
            // That another version of HTTP is not spoken is said by 505, whoever asks.
            assert(Number(status) < 500 || status === "505", `raw: ${answer.slice(0, 300)}`);
        }
    }), { seed, numRuns: ask.raw, reporter: report });
}

// --- the whole ---

async function scan(seed) {
    const one = fc.oneof(...operations.map((o) => ({ weight: ask.weights[o.name] ?? 4, arbitrary: requestOf(o) })));
    // Each once at least, then at random, several at the same time.
    for (const o of operations)
        for (const r of fc.sample(requestOf(o), { seed, numRuns: 4 })) await run(o, build(r));
    await fc.assert(fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 8 }), async (requests) => {
        const results = await Promise.allSettled(requests.map((r) => run(r.o, build(r))));
        const failed = results.find((r) => r.status === "rejected");
        if (failed) throw failed.reason;
    }), { seed, numRuns: ask.rounds, reporter: report });
}

function report(details) {
    if (details.failed)
        throw new Error(`seed ${details.seed}, after ${details.numRuns} rounds, made smaller ${details.numShrinks} times:\n${details.errorInstance?.message}`);
}

try {
    await validateDescriptions();
    const until = Date.now() + ask.minutes * 60_000;
    let seed = ask.seed;
    do { // each time the next seed
        await scan(seed);
        await scanRaw(seed);
    } while (Date.now() < until && ++seed);
    for (const o of operations) assert(counts[o.name], `${o.name} was never asked`);
    for (const name of Object.keys(counts).sort()) console.log(name.padEnd(28), JSON.stringify(counts[name]));
    const good = operations.filter((o) => Object.keys(counts[o.name]).some((s) => Number(s) < 300)).length;
    console.log(`seeds ${ask.seed} to ${seed}: ${Object.values(statuses).reduce((a, b) => a + b, 0)} requests to ${operations.length} operations, of which ${good} succeeded at least once:`, JSON.stringify(statuses));
} catch (e) {
    console.log(`FOUND: ${e.message}`);
    process.exitCode = 1;
} finally {
    agent.destroy();
}
