// SPDX-License-Identifier: GPL-3.0-or-later
// The official client, unmodified, against a Berth station; rest-client.py starts it and plays the data centre.
// In:  BERTH_ASK, a JSON object. Out: one JSON object a line; { "now": WHAT } asks for hands.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const ask = JSON.parse(process.env.BERTH_ASK);
const { StorageImportExport } = createRequire(ask.npm + "/")("@azure/arm-storageimportexport");
const GROUP = "rg-a";
const FOLLOW_LIMIT_MS = 240_000;

const credential = (token) => ({
    getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }),
});
const connect = (right, options = {}) =>
    new StorageImportExport(credential(ask.tokens[right]), ask.subscription, { endpoint: ask.base, ...options });
const client = connect("admin");
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const body = (driveId, more = {}) => ({
    location: "West US",
    tags: { who: driveId },
    properties: {
        storageAccountId: ask.account,
        jobType: "Import",
        returnAddress: {
            recipientName: "A. Tester", streetAddress1: "1 Sample Way", city: "Sampleton", stateOrProvince: "ST",
            postalCode: "00001", countryOrRegion: "US", phone: "5550199", email: "ops@example.org",
        },
        returnShipping: { carrierName: "CarrierX", carrierAccountNumber: "000111222" },
        diagnosticsPath: "waimportexport",
        logLevel: "Verbose",
        backupDriveManifest: true,
        driveList: [{ driveId, bitLockerKey: "111111-111111-111111-111111-111111-111111-111111-111111",
                      manifestFile: "\\DriveManifest.xml", manifestHash: "0123456789ABCDEF0123456789ABCDEF",
                      driveHeaderHash: "" }],
        ...more,
    },
});
const create = (name, driveId, more) => client.jobs.create(name, GROUP, body(driveId, more));

async function refused(promise, statusCode, code) {
    await assert.rejects(promise, (e) => {
        assert.equal(e.name, "RestError", e.stack);
        assert.deepEqual([e.statusCode, e.code], [statusCode, code], e.message);
        assert.equal(e.details.code, code);
        assert.ok(e.details.message.length > 0);
        return true;
    });
}

async function collect(iterator) {
    const found = [];
    for await (const item of iterator) found.push(item);
    return found;
}

async function followToCompleted() {
    const { driveId, bitLockerKey, manifestFile, manifestHash } = ask.drive;
    const made = await create("attic", driveId, { driveList: [{ driveId, bitLockerKey, manifestFile, manifestHash }] });
    assert.equal(made.properties.state, "Creating");
    assert.equal(made.properties.driveList[0].bitLockerKey, undefined);
    const shipped = await client.jobs.update("attic", GROUP, {
        state: "Shipping",
        deliveryPackage: { carrierName: "CarrierX", trackingNumber: "TRK-0001", driveCount: 1, shipDate: "2031-04-12" },
    });
    assert.equal(shipped.properties.state, "Shipping");
    assert.equal(shipped.properties.shippingInformation.streetAddress1, "1 Dock Street");
    say({ now: "dock" });
    const order = ["Creating", "Shipping", "Received", "Transferring", "Packaging", "Completed"];
    const states = new Set(), until = Date.now() + FOLLOW_LIMIT_MS;
    for (let at = 0, percent = 0; ; await sleep(50)) {
        const job = await client.jobs.get("attic", GROUP), drive = job.properties.driveList[0];
        const now = order.indexOf(job.properties.state);
        assert.ok(now >= at, `${order[at]} became ${job.properties.state}`);
        assert.ok(job.properties.percentComplete >= percent, "the percentage went back");
        percent = job.properties.percentComplete;
        if (now === 4 && at < 4) {
            assert.deepEqual([drive.state, drive.copyStatus], ["Completed", "Completed"]);
            say({ now: "return" });
        }
        at = now;
        states.add(job.properties.state);
        if (job.properties.state === "Completed") {
            assert.equal(drive.state, "ShippedBack");
            assert.equal(drive.percentComplete, 100);
            assert.ok(drive.bytesSucceeded > 0);
            assert.equal(job.properties.percentComplete, 100);
            assert.equal(job.properties.returnPackage.trackingNumber, "BACK-1");
            say({ drive, states: [...states] });
            return;
        }
        assert.ok(Date.now() < until, `it stays ${job.properties.state}: ${JSON.stringify(drive)}`);
    }
}

async function lists() {
    const names = ["page-0", "page-1", "page-2", "page-3", "page-4"];
    for (const name of names) await create(name, name.replace("-", ""));
    const expected = [...names].reverse();
    const pages = [];
    for await (const page of client.jobs.listByResourceGroup(GROUP, { top: 2, filter: "state eq 'Creating'" }).byPage())
        pages.push(page.map((j) => j.name));
    assert.deepEqual(pages, [expected.slice(0, 2), expected.slice(2, 4), expected.slice(4)]);
    assert.deepEqual((await collect(client.jobs.listBySubscription({ top: 3 }))).map((j) => j.name),
                     [...expected, "attic"]);
    const tracked = await collect(client.jobs.listBySubscription({ filter: "trackingnumber eq 'TRK-0001'" }));
    assert.deepEqual(tracked.map((j) => j.name), ["attic"]);
    assert.equal((await collect(connect("read").jobs.listByResourceGroup("rg-b"))).length, 0);
    for (const name of names.slice(1)) await client.jobs.delete(name, GROUP);
}

async function updates() {
    const sent = { tags: { a: "b" }, logLevel: "Error", backupDriveManifest: false,
                   returnShipping: { carrierName: "CarrierY", carrierAccountNumber: "9" } };
    const job = await client.jobs.update("page-0", GROUP, sent);
    assert.deepEqual(job.tags, sent.tags);
    assert.deepEqual([job.properties.logLevel, job.properties.backupDriveManifest], ["Error", false]);
    assert.deepEqual(job.properties.returnShipping, sent.returnShipping);
    const again = await client.jobs.create("page-0", GROUP, { location: job.location, properties: job.properties });
    assert.deepEqual(again.properties.driveList, job.properties.driveList);
    assert.ok(job.systemData.createdAt instanceof Date);
    for (const apiVersion of ["2016-11-01", "2020-08-01"]) {
        const old = await connect("read", { apiVersion }).jobs.get("page-0", GROUP);
        assert.equal(old.properties.state, "Creating");
        assert.equal(old.identity === undefined, apiVersion === "2016-11-01");
    }
}

async function keys() {
    const list = await collect(client.bitLockerKeys.list("attic", GROUP));
    assert.deepEqual(list, [{ driveId: ask.drive.driveId, bitLockerKey: ask.drive.bitLockerKey }]);
}

async function cancelAndDelete() {
    const job = await client.jobs.update("page-0", GROUP, { cancelRequested: true });
    assert.equal(job.properties.cancelRequested, true);
    assert.equal(job.properties.state, "Creating");
    await client.jobs.delete("page-0", GROUP);
    await refused(client.jobs.get("page-0", GROUP), 404, "ResourceNotFound");
    await client.jobs.delete("attic", GROUP);
    await refused(client.jobs.get("attic", GROUP), 404, "ResourceNotFound");
}

async function places() {
    assert.deepEqual((await collect(client.locations.list())).map((l) => l.name), ["West US", "North Europe"]);
    const west = await client.locations.get("West US");
    assert.deepEqual([west.city, west.supportedCarriers], ["Quincy", ["CarrierX", "CarrierY"]]);
    assert.equal((await client.locations.get("westus")).id, west.id);
    await refused(client.locations.get("mars"), 404, "ResourceNotFound");
    assert.ok((await collect(client.operations.list())).some((o) => o.name === "Microsoft.ImportExport/jobs/write"));
}

async function faults() {
    const once = { retryOptions: { maxRetries: 0 } };
    await refused(connect("nobody", once).jobs.get("attic", GROUP), 401, "AuthenticationFailed");
    await refused(connect("read").jobs.delete("attic", GROUP), 403, "AuthorizationFailed");
    await refused(collect(connect("operate").bitLockerKeys.list("attic", GROUP)), 403, "AuthorizationFailed");
    await refused(connect("read", { apiVersion: "2019-01-01" }).jobs.get("attic", GROUP), 400,
                  "InvalidApiVersionParameter");
    await refused(client.jobs.get("nothing", GROUP), 404, "ResourceNotFound");
    await refused(create("attic", ask.drive.driveId), 409, "OperationNotAllowed");
    await refused(create("bad", "BAD1", { driveList: [] }), 400, "InvalidRequestContent");
    await refused(create("bad", "BAD1", { jobType: "Export" }), 400, "JobTypeNotSupported");
    await refused(create("bad", "page0"), 409, "Conflict");
    await refused(client.jobs.update("attic", GROUP, { cancelRequested: true }), 409, "OperationNotAllowed");
    await refused(client.jobs.update("attic", GROUP, { logLevel: "Error" }), 409, "OperationNotAllowed");
    await refused(client.jobs.update("page-0", GROUP, { state: "Shipping" }), 409, "OperationNotAllowed");
    await refused(collect(client.jobs.listBySubscription({ filter: "x" })), 400, "InvalidFilterInQueryString");
    // It will not send a token without TLS.
    const plain = connect("admin", { endpoint: ask.base.replace("https:", "http:"), ...once });
    await assert.rejects(plain.jobs.get("attic", GROUP), /not permitted for non-TLS/);
}

for (const step of [places, followToCompleted, lists, updates, keys, faults, cancelAndDelete]) {
    await step();
    say({ done: step.name });
}
